"""The page of a report on a store: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Final

from asynccache import __version__
from asynccache.errors import without_tokens
from asynccache_cli.text import human_bytes, moment

if TYPE_CHECKING:
    from asynccache.api import KindAmount, LastRun, NamedEnvironment, StoreReport

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #556070; --line: #d9dfe6; --paper: #ffffff; --card: #f5f7f9;
  --one: #0b7a75; --two: #c98a1b; --three: #a63d40; --four: #7d8894; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf3; --soft: #a3b2c2; --line: #2b3643; --paper: #10161d;
  --card: #18212b; --one: #2bb5ad; --two: #e3a04f; --three: #f0787a; --four: #7b8896; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { margin: .3rem 0 .7rem; max-width: 46rem; }
.soft, caption, thead th { color: var(--soft); }
.warning { background: var(--card); border-left: .3rem solid var(--three); padding: .5rem .8rem; }
.scroll { overflow-x: auto; }
table { min-width: min(100%, 26rem); border-collapse: collapse;
  font-size: .9rem; margin: .4rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; overflow-wrap: normal; }
th, td { padding: .3rem 1.2rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-weight: 400; overflow-wrap: normal; }
thead th { font-weight: 600; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.date { white-space: nowrap; }
.key { overflow-wrap: anywhere; min-width: 12rem; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; padding: 0; list-style: none; }
.facts li { background: var(--card); padding: .5rem .9rem; border-radius: .4rem; }
.facts b { display: block; font-size: 1.2rem; font-weight: 600; }
svg { display: block; width: 100%; height: 1.4rem; border-radius: .3rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .9rem; margin: .4rem 0; padding: 0;
  list-style: none; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; border-radius: .15rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } .scroll { overflow: visible; }
  h2 { break-after: avoid; } tr, svg { break-inside: avoid; } thead { display: table-header-group; }
  svg, .legend i, .facts li { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
_COLOURS: Final = ("var(--one)", "var(--two)", "var(--three)", "var(--four)")
_SHOWN: Final = 100  # channels; the others share one row
_AGES: Final = ("up to 7 days", "up to 30 days", "up to 90 days", "up to a year", "older", "not known")
_REACH: Final = {
    "kept": "kept: a name, its history, a lease, a use or a run keeps an environment of it",
    "named": "only documents name it that nothing keeps",
    "nothing": "no document names it",
    "unknown": "nobody can tell",
}
_COMMANDS: Final = ("backfill", "audit", "verify", "gc", "replicate")
_AMOUNT: Final = ("Objects", "Size")
_Cell = tuple[str, str]
"""Attributes and content of a cell, both as HTML."""


def render(report: StoreReport) -> str:
    """Return the page.

    Args:
        report: What it says; any text in it may come from an attacker.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>What is in {escape(report.contents.store)}</title>",
        f"<style>{_STYLE}</style></head>",
        "<body><main>",
        *_head(report),
        *_sizes(report),
        *_duplicates(report),
        *_reach(report),
        *_garbage(report),
        *_names(report),
        *_runs(report),
        "</main></body></html>",
    ]
    return without_tokens("\n".join(parts)) + "\n"


def _head(report: StoreReport) -> Iterator[str]:
    yield f"<h1>What is in {escape(report.contents.store)}</h1>"
    yield f'<p class="soft">{_when(report.made_at)}, asynccache {escape(__version__)}</p>'
    if report.refused is not None:
        yield (
            f'<p class="warning">What is needed is not known, and <code>gc</code> would refuse: '
            f"{escape(str(report.refused))}</p>"
        )
    facts = (
        (f"{report.contents.packages:,}", "packages"),
        (f"{report.archives:,}", f"archives, {_size(report.bytes)}"),
        (f"{report.documents.objects:,}", f"environments, {_size(report.documents.bytes)} of documents"),
        (f"{report.packs.objects:,}", f"packs, {_size(report.packs.bytes)}"),
        (f"{report.receipts.objects:,}", f"receipts, {_size(report.receipts.bytes)}"),
        (f"{report.names:,}", "names"),
        (f"{report.contents.other:,}", "other objects among the packages"),
    )
    yield '<ul class="facts">' + "".join(f"<li><b>{number}</b>{text}</li>" for number, text in facts) + "</ul>"


def _sizes(report: StoreReport) -> Iterator[str]:
    yield "<h2>Size</h2>"
    contents = report.contents
    rows = [
        [_text(label), _number(contents.objects[label]), _bytes(contents.bytes[label])]
        for label in sorted(contents.objects)
    ]
    yield _table(
        "formats",
        f"By kind and format; {contents.transmuted:,} archives were made by transmuting.",
        ("Kind and format", *_AMOUNT),
        rows,
    )
    ordered = sorted(report.channels.items(), key=lambda item: (-item[1].bytes, item[0]))
    rows = _amounts(ordered[:_SHOWN])
    if rest := ordered[_SHOWN:]:
        together = sum(each.objects for _name, each in rest), sum(each.bytes for _name, each in rest)
        rows.append([_text(f"{len(rest)} more"), _number(together[0]), _bytes(together[1])])
    yield _table(
        "channels", "By channel, the largest first; of what is no conda package by host.", ("Channel", *_AMOUNT), rows
    )
    ages = [(label, report.ages[label]) for label in _AGES if label in report.ages]
    yield _table("ages", "By the time since it was written.", ("Age", *_AMOUNT), _amounts(ages))


def _duplicates(report: StoreReport) -> Iterator[str]:
    found = report.repeated
    yield "<h2>Duplicates</h2>"
    rows = _amounts(
        [
            ("conda packages in both formats, and what transmuting made of them", found.both_forms),
            ("file names that another channel has, too", found.several_channels),
            ("file names with two digests below one address", found.two_digests),
        ]
    )
    yield _table(
        "duplicates", "What is there more than once, and its bytes beside the first.", ("What", *_AMOUNT), rows
    )
    if found.examples:
        rows = [[_key(e.name), _text(e.kind), _key(e.channel), _bytes(e.bytes)] for e in found.examples]
        head = ("File name", "Found in", "Again in", "Size")
        yield _table("duplicate-examples", "Some of them.", head, rows, numbers=1)


def _reach(report: StoreReport) -> Iterator[str]:
    yield "<h2>Hot and dead bytes</h2>"
    yield '<p class="soft">By the rules of <code>gc</code>, of all archives of a package together.</p>'
    present = [(text, report.reach[word]) for word, text in _REACH.items() if word in report.reach]
    yield _bar("Bytes of archives by who needs them", [(text, amount.bytes) for text, amount in present])
    rows = [
        [*row, _share(amount.bytes, report.bytes)]
        for row, (_text_of, amount) in zip(_amounts(present), present, strict=True)
    ]
    yield _table("reach", "Archives by who needs them.", ("Needed by", *_AMOUNT, "Share"), rows, numbers=3)


def _garbage(report: StoreReport) -> Iterator[str]:
    yield "<h2>What <code>gc</code> would free</h2>"
    words = f"--keep-days {report.keep_days:g}" + (" --unreferenced" if report.unreferenced else "")
    if report.garbage is None:
        yield "<p>It would refuse; see above.</p>"
        return
    rows = _amounts(sorted(report.garbage.by_kind.items()))
    rows.append([_text("in all"), _number(report.garbage.objects), _bytes(report.garbage.bytes)])
    yield _table("garbage", f"What a run with {words} would mark.", ("Kind", *_AMOUNT), rows)


def _names(report: StoreReport) -> Iterator[str]:
    yield "<h2>Names and their history</h2>"
    if not report.aliases:
        yield "<p>There are none.</p>"
        return
    text = (
        f"{report.names:,} names"
        if report.names == len(report.aliases)
        else (f"The {len(report.aliases):,} of {report.names:,} names that were written last")
    )
    rows = [
        [
            _key(name.name),
            _ids(name.req_id, name.full_id) if name.full_id else _key(name.trouble or "nothing"),
            (_DATE, _when(name.modified)),
            _number(name.moves),
        ]
        for name in report.aliases
    ]
    yield _table("names", f"{text}.", ("Name", "Stands for", "Written", "Moves"), rows, numbers=1)
    moves = list(_moves(report.aliases))
    if moves:
        head = ("Name", "Move", "When (UTC)", "By", "To")
        yield _table("moves", "The last moves of names that move, the latest first.", head, moves, numbers=0)


def _moves(names: Iterable[NamedEnvironment]) -> Iterator[list[_Cell]]:
    for name in names:
        for move in name.history:
            when = (_DATE, f'<time datetime="{escape(move.when)}">{escape(moment(move.when))}</time>')
            yield [
                _key(name.name),
                _text(f"{move.number}"),
                when,
                _text(f"{move.by} {move.command}".strip()),
                _ids(*move.target),
            ]


def _runs(report: StoreReport) -> Iterator[str]:
    yield "<h2>Last runs</h2>"
    found = {str(run.command): run for run in report.runs}
    rows = [_run(command, found.get(command)) for command in _COMMANDS]
    head = ("Command", "Begun (UTC)", "Last written (UTC)", "Parts done", "Figures")
    yield _table("runs", "The last runs of which the store has a record.", head, rows, numbers=0)


def _run(command: str, run: LastRun | None) -> list[_Cell]:
    if run is None:
        return [_text(command), _text("none recorded"), _text(""), _text(""), _text("")]
    figures = ", ".join(f"{name} {count:,}" for name, count in run.figures.items())
    done = f"{run.shards - run.unfinished} of {run.shards}"
    begun, updated = ((_DATE, escape(moment(text))) for text in (run.begun_at, run.updated_at))
    return [_text(command), begun, updated, _text(done), _text(figures)]


def _amounts(amounts: Iterable[tuple[str, KindAmount]] | Mapping[str, KindAmount]) -> list[list[_Cell]]:
    pairs = amounts.items() if isinstance(amounts, Mapping) else amounts
    return [[_key(label), _number(amount.objects), _bytes(amount.bytes)] for label, amount in pairs]


def _table(name: str, caption: str, head: Sequence[str], rows: Sequence[Sequence[_Cell]], numbers: int = 2) -> str:
    """Return a table in a box of its own, which scrolls where it is too wide.

    Args:
        name: Its id.
        caption: What it shows.
        head: Titles of the columns.
        rows: The first cell of each is its heading.
        numbers: How many of the last columns are numbers.
    """
    first = len(head) - numbers
    titles = "".join(
        f'<th scope="col"{_NUMBER if i >= first else ""}>{escape(text)}</th>' for i, text in enumerate(head)
    )
    lines = [
        f'<tr><th scope="row"{attributes}>{content}</th>{"".join(f"<td{a}>{c}</td>" for a, c in rest)}</tr>'
        for (attributes, content), *rest in rows
    ]
    said = escape(caption)
    return "\n".join(
        [
            f'<div class="scroll" role="region" tabindex="0" aria-label="{said}">',
            f'<table id="{name}"><caption>{said}</caption>',
            f"<thead><tr>{titles}</tr></thead><tbody>",
            *lines,
            "</tbody></table></div>",
        ]
    )


_NUMBER: Final = ' class="number"'
_DATE: Final = ' class="date"'


def _text(text: str) -> _Cell:
    return "", escape(text)


def _key(text: str) -> _Cell:
    return ' class="key"', escape(text)


def _ids(req_id: str, full_id: str) -> _Cell:
    return f' title="{escape(req_id)}:{escape(full_id)}"', f"{escape(req_id[:12])}:{escape(full_id[:12])}"


def _number(count: int) -> _Cell:
    return f'{_NUMBER} data-value="{count}"', f"{count:,}"


def _bytes(count: int) -> _Cell:
    return f'{_NUMBER} data-value="{count}" title="{count:,} bytes"', human_bytes(count)


def _share(part: int, whole: int) -> _Cell:
    return _NUMBER, f"{100 * part / whole:.1f} %" if whole else "-"


def _size(count: int) -> str:
    return f'<span data-value="{count}" title="{count:,} bytes">{human_bytes(count)}</span>'


def _when(when: datetime | None) -> str:
    return "" if when is None else f'<time datetime="{when.isoformat()}">{when:%Y-%m-%d %H:%M} UTC</time>'


def _bar(label: str, parts: Sequence[tuple[str, int]]) -> str:
    """Return a bar whose parts are as long as their shares, and a legend of its colours."""
    whole = sum(count for _text_of, count in parts)
    if not whole:
        return ""
    drawn, begin = [], 0.0
    for (text, count), colour in zip(parts, _COLOURS, strict=False):
        width = 100 * count / whole
        title = f"<title>{escape(text)}: {human_bytes(count)}</title>"
        drawn.append(
            f'<rect x="{begin:.3f}" y="0" width="{width:.3f}" height="10" style="fill: {colour}">{title}</rect>'
        )
        begin += width
    legend = "".join(
        f'<li><i style="background: {colour}"></i>{escape(text)}</li>'
        for (text, _count), colour in zip(parts, _COLOURS, strict=False)
    )
    return (
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'{"".join(drawn)}</svg><ul class="legend">{legend}</ul>'
    )
