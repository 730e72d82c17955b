"""`asynccache bench`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

import click

from asynccache.errors import PartialFailureError, StoreError, UsageError
from asynccache_cli.options import json_option, kept, show

SOURCE_TREE = Path(__file__).resolve().parents[2]


@click.command("bench")
@click.option("--case", "cases", metavar="NAME", multiple=True, help="Only this case; may be given several times.")
@click.option("--list", "list_only", is_flag=True, help="List the cases and end.")
@click.option("--quick", is_flag=True, help="Small inputs, one round: shows that it works, measures nothing.")
@click.option("--rounds", type=click.IntRange(1), help="How often each contender runs; default 5.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where the results go.")
@json_option
def command(*, cases: tuple[str, ...], list_only: bool, quick: bool, rounds: int | None, out: Path | None) -> None:
    """Measure asynccache against other tools, and its whole runs against their slowest stage.

    Every contender runs in a process of its own, in turn with the others. Writes results.json, index.html (a page
    with plots) and targets.md, below bench/results or into --out. Works in a source checkout only.

    \b
    Examples:
      asynccache bench
      asynccache bench --case transmute-to-conda --rounds 7
    """
    run = load_benchmarks(SOURCE_TREE)
    if list_only:
        show({name: case.summary for name, case in run.CASES.items()}, _cases)
        return
    tell = partial(click.echo, err=True)
    document = run.run(cases, quick=quick, rounds=rounds, out=out, tell=tell, show=tell if kept("json") else click.echo)
    show(document, lambda _document: [f"written: {(out or run.RESULTS) / 'index.html'}, results.json and targets.md"])
    failed = {case["name"]: StoreError(case["error"]) for case in document["cases"] if case["error"]}
    if failed:
        raise PartialFailureError(
            f"{len(failed)} of {len(document['cases'])} cases could not be measured", dict(failed)
        )


def _cases(listed: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, listed))
    yield from (f"{name:<{width}}  {text}" for name, text in listed.items())


def load_benchmarks(tree: Path) -> ModuleType:
    """Import the benchmarks of a source tree.

    Raises:
        UsageError: It has none: this is an installed copy.
    """
    if not (tree / "bench" / "run.py").is_file():
        raise UsageError(
            "the benchmarks live in the source tree, which this installation is not",
            hint="clone the repository and run `make bench` there",
        )
    if str(tree) not in sys.path:
        sys.path.insert(0, str(tree))
    return importlib.import_module("bench.run")
