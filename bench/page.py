"""The page that shows what was measured: one self-contained HTML file with plots drawn as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from bench.plot import bars
from bench.results import CaseResult, Group, Metric

_STYLE: Final = """
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #e8edf3); --soft: light-dark(#5b6675, #9fb0c0);
  --line: light-dark(#dfe4ea, #2b3643); --paper: light-dark(#ffffff, #10161d); --card: light-dark(#f6f8fa, #18212b);
  --ours: light-dark(#0b7a75, #2bb5ad); --other: light-dark(#9aa7b5, #55657a); --dot: var(--ink);
  --good: light-dark(#0a7d33, #4ac26b); --bad: light-dark(#b42318, #ff7b72); --limit: light-dark(#b45309, #e3a04f); }
body { margin: 0 auto; max-width: 64rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h2 { margin: 3rem 0 .3rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
code, .warning { background: var(--card); padding: .1em .35em; }
figure { margin: .8rem 0 .2rem; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .9rem; }
dd { margin: 0; }
.soft, figcaption, th, dt, td small { color: var(--soft); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
"""
_KINDS: Final = {"reached": "good", "missed": "bad", "not measured": "bad"}  # classes of verdicts
_READING: Final = (
    "Every contender runs in a process of its own, one after the other in each round, so that whatever else the "
    "machine does meets all of them. CPU seconds (user and system, children included) and peak memory are what the "
    "kernel reports when the process ends; wall seconds run from its start to its end. Start-up is part of every "
    "figure unless the label says otherwise, and is shown beside. A bar is the median, the dots are the rounds; a "
    "ratio is that of the medians, in brackets the smallest and the largest within one round."
)


def render(document: Mapping[str, Any], results: Sequence[CaseResult]) -> str:
    """Return the page.

    Args:
        document: Machine, versions, command and rounds, as `bench.run` writes them.
        results: The cases in the order of the page.
    """
    machine = document["machine"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>asynccache: what was measured</title><style>{_STYLE}</style>",
        "<h1>What asynccache was measured to do</h1>",
    ]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"
    parts.append(f"<p class=soft>{escape(machine['when'])} &middot; {escape(where)} &middot; {machine['python']}</p>")
    if document["quick"]:
        parts.append(
            "<p class=warning>A quick run: small inputs and few rounds. It shows that everything works; its figures "
            "mean nothing.</p>"
        )
    parts += [_targets(results), "<h2>How to read this</h2>", f"<p>{_READING}</p>", _machine(document)]
    parts += [_case(result) for result in results]
    return "\n".join(parts) + "\n</html>\n"


def _targets(results: Sequence[CaseResult]) -> str:
    """Return a table of what should be reached, nothing if there is nothing."""
    rows = []
    for result in results:
        for *cells, verdict in result.verdicts():
            marked = f"<span class={_KINDS.get(verdict, 'soft')}>{verdict}</span>"
            rows.append([*map(escape, cells), marked, f"<a href='#{result.name}'>{result.name}</a>"])
    return _table(["target", "wanted", "measured", "", "case"], rows) if rows else ""


def _machine(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    versions = ", ".join(f"{escape(k)} {escape(v)}" for k, v in machine["versions"].items())
    facts = {
        "machine": f"{escape(machine['processor'])}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.1f} GiB, {escape(machine['system'])}",
        "load average": f"{machine['load_average']} before, {machine['load_average_after']} after",
        "versions": f"{escape(machine['python'])}, {versions}",
        "commit": escape(machine["commit"] or "unknown"),
        "rounds": str(document["rounds"]),
        "least peak that could be seen": f"{machine['peak_floor_bytes'] / 1e6:.0f} MB (the measuring process's own)",
        "again": f"<code>make setup</code>, then <code>{escape(document['command'])}</code>",
        "figures": "every sample of every round is in <code>results.json</code> beside this page",
    }
    return "<dl>" + "".join(f"<dt>{name}<dd>{text}" for name, text in facts.items()) + "</dl>"


def _case(result: CaseResult) -> str:
    parts = [f"<h2 id='{result.name}'>{escape(result.title)}</h2>"]
    if result.error:
        return "\n".join([*parts, f"<p class=bad>Not measured: {escape(result.error)}</p>"])
    parts += [f"<p>{escape(result.about)}</p>", _targets([result])]
    for group in result.groups:
        parts.append(f"<h3>{escape(group.label)}</h3>")
        parts += [_figure(group, m) for m in result.metrics if m.key in result.plotted]
        shown = group.shown(result.metrics)
        rows = [[escape(one.name), *(_cell(*group.cell(one, metric)) for metric in shown)] for one in group.series]
        parts.append(_table(["", *(escape(metric.label) for metric in shown)], rows))
    parts += [f"<p>{escape(note)}</p>" for note in result.notes]
    return "\n".join(parts)


def _figure(group: Group, metric: Metric) -> str:
    unit = f", {metric.unit}" if metric.unit not in {"", "s"} else ""
    caption = f"{escape(metric.label)}{unit}: median and each round"
    return f"<figure>{bars(group, metric)}<figcaption>{caption}</figcaption></figure>"


def _cell(text: str, times: str) -> str:
    return f"{text} <small>{times}</small>" if times else text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<{tag}>{cell}" for cell in row) for tag, row in (("th", head), *(("td", row) for row in rows))]
    return f"<div class=scroll><table><tr>{'<tr>'.join(lines)}</table></div>"
