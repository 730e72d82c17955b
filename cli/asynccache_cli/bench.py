"""`asynccache bench`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

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
@click.option(
    "--against",
    type=click.Path(dir_okay=False, path_type=Path),
    help="results.json of another run: says by how much each contender changed.",
)
@json_option
def command(
    *,
    cases: tuple[str, ...],
    list_only: bool,
    quick: bool,
    rounds: int | None,
    out: Path | None,
    against: Path | None,
) -> None:
    """Measure asynccache against other tools, and its whole runs against their slowest stage.

    Every contender runs in a process of its own, in turn with the others. Writes results.json, targets.md and
    peers.md after each case and index.html (a page with plots) at the end, below bench/results or into --out.
    Other tools are looked up on PATH, or named by ASYNCCACHE_PEER_MICROMAMBA, ASYNCCACHE_PEER_CONDA and
    ASYNCCACHE_PEER_UV. Works in a source checkout only.

    \b
    Examples:
      asynccache bench
      asynccache bench --case transmute-to-conda --rounds 7
      asynccache bench --against before/results.json
    """
    run = load_benchmarks(SOURCE_TREE)
    if list_only:
        listed = {name: case.summary for name, case in run.CASES.items()}
        show(Cases(cases=listed), lambda _shown: _cases(listed))
        return
    say = partial(click.echo, err=True)
    document: Measured = run.run(
        cases,
        quick=quick,
        rounds=rounds,
        out=out,
        against=against,
        say=say,
        show=say if kept("json") else click.echo,
    )
    show(
        document,
        lambda _document: [f"written: {(out or run.RESULTS) / 'index.html'}, results.json, targets.md and peers.md"],
    )
    failed = {case["name"]: StoreError(case["error"]) for case in document["cases"] if case["error"]}
    if failed:
        raise PartialFailureError(
            f"{len(failed)} of {len(document['cases'])} cases could not be measured", dict(failed)
        )


class Cases(TypedDict):
    """The available cases.

    Attributes:
        cases: Name -> what is measured.
    """

    cases: Mapping[str, str]


class Changed(TypedDict):
    """How much a contender changed since another run.

    Attributes:
        case: Name of the case.
        group: What was done.
        contender: What did it.
        ratios: For `cpu`, `wall` and `peak`, the ratio of what it needs now to what it needed then: `all`, and `beside`
            relative to the first contender of its group, which does not depend on the state of the machine; null if
            nothing is compared.
    """

    case: str
    group: str
    contender: str
    ratios: Mapping[str, Mapping[str, float | None]]


class Measured(TypedDict):
    """What was measured: the content of results.json (docs/benchmarks.md).

    Attributes:
        format: Version of what follows.
        machine: Cores, memory, load, versions.
        command: The command that repeats the measurement.
        quick: Whether the inputs were small, so the figures mean nothing.
        rounds: How often each contender ran.
        cases: Every sample of every round, targets, and the error of a case that could not be measured.
        against: How each contender changed since the run that `--against` names; none without it.
    """

    format: int
    machine: Mapping[str, Any]
    command: str
    quick: bool
    rounds: int
    cases: Sequence[Mapping[str, Any]]
    against: Sequence[Changed]


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
