"""Runs cases and writes what they found: text as they end; JSON, an HTML page and a table of targets at the end."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asynccache.errors import UsageError
from bench.against import compared, lines, read_results
from bench.bed import Bed
from bench.case import CASES, Case
from bench.harness import REPOSITORY, ContenderError, floor_bytes, scratch_directory
from bench.machine import describe
from bench.results import CPU, PEAK, WALL, CaseResult

ROUNDS: Final = 5
RESULTS: Final = REPOSITORY / "bench" / "results"
_WIDTH: Final = 118  # of lines on a terminal


for _module in (
    "transmute",
    "reading",
    "start_up",
    "cache",
    "store",
    "catalog",
    "resolve",
    "hydrate",
    "cold",
    "bootstrap",
    "metaflow",
    "memory",
    "scale",
    "fleet",
):
    importlib.import_module(f"bench.{_module}_cases")


def run(
    names: Sequence[str] = (),
    *,
    quick: bool = False,
    rounds: int | None = None,
    out: Path | None = None,
    against: Path | None = None,
    say: Callable[[str], None] = lambda _text: None,
    show: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Run cases and write `results.json`, `targets.md` and `peers.md` after each of them, `index.html` at the end.

    Args:
        names: Cases; all of them when empty.
        quick: Small inputs and one round: shows that everything works and measures nothing worth knowing.
        rounds: How often each contender runs; 5 when None, 1 on a quick run.
        out: Directory for the results; `bench/results` when None.
        against: `results.json` of another run, to compare with.
        say: Called with every run.
        show: Called with each case's findings.

    Returns:
        The document that was written. A case that could not be measured has an `error`; the others are not affected.

    Raises:
        UsageError: There is no such case, or no results to compare with.
    """
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise UsageError(
            f"there is no benchmark {unknown[0]!r}", expected=", ".join(CASES), hint="`asynccache bench --list`"
        )
    before = read_results(against) if against is not None else None
    out = out or RESULTS
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "format": 1,
        "machine": describe(),
        "command": _command(names, quick=quick, rounds=rounds),
        "quick": quick,
        "rounds": rounds or (1 if quick else ROUNDS),
        "against": [],
    }
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        say("PYTHONDONTWRITEBYTECODE is set: contenders in Python compile their modules at every start; unset it")
    scratch = scratch_directory()
    bed = Bed(scratch, rounds=document["rounds"], quick=quick, say=say)
    results: list[CaseResult] = []
    try:
        for name in names or CASES:
            say(f"{name}: {CASES[name].summary} (load {os.getloadavg()[0]:.1f})")
            results.append(_run_case(CASES[name], bed))
            show(describe_case(results[-1]))
            _save(document, results, out)  # a run that is ended early keeps what it has
    finally:
        bed.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if before is not None:
        document["against"] = compared(document, before)
        show("\n".join(lines(document["against"], before)))
    _save(document, results, out)
    from bench.page import render  # noqa: PLC0415 - the measuring process stays small

    (out / "index.html").write_text(render(document, results), encoding="utf-8")
    return document


def _save(document: dict[str, Any], results: Sequence[CaseResult], out: Path) -> None:
    document["machine"] |= {"load_average_after": round(os.getloadavg()[0], 2), "peak_floor_bytes": floor_bytes()}
    document["cases"] = [result.as_document() for result in results]
    texts = {
        "results.json": json.dumps(document, indent=1),
        "targets.md": targets_table(results),
        "peers.md": peers_table(results),
    }
    for name, text in texts.items():
        (out / f"{name}.new").write_text(text, encoding="utf-8")
        (out / f"{name}.new").replace(out / name)


def _run_case(case: Case, bed: Bed) -> CaseResult:
    started = time.perf_counter()
    result = case.blank()
    try:
        case.measure(bed, result)
    except (ContenderError, OSError, subprocess.SubprocessError) as exc:
        result = case.blank()
        result.error = str(exc)
    if bed.quick:
        result.targets = [replace(target, judged=False) for target in result.targets]
    result.seconds = time.perf_counter() - started
    return result


def _command(names: Sequence[str], *, quick: bool, rounds: int | None) -> str:
    words = ["asynccache", "bench", *(word for name in names for word in ("--case", name))]
    words += ["--quick"] if quick else []
    words += ["--rounds", str(rounds)] if rounds else []
    return shlex.join(words)


def describe_case(result: CaseResult) -> str:
    """Write a case's findings for a terminal."""
    lines = [f"{result.title} [{result.name}]"]
    if result.error:
        return "\n".join([*lines, f"  not measured: {result.error}"])
    for group in result.groups:
        lines.append(f"  {group.label}")
        for one in group.series:
            cells = [(m.label, *group.cell(one, m)) for m in group.shown(result.metrics)]
            parts = [f"{label} {text}" + f" {times}" * bool(times) for label, text, times in cells if text]
            lines += textwrap.wrap(
                f"{one.name}  {'; '.join(parts)}", _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8
            )
    lines += [f"  {target}: {target.verdict}" for target in result.targets]
    lines += [f"  {note}" for note in result.notes]
    return "\n".join(lines)


def targets_table(results: Sequence[CaseResult]) -> str:
    """Write targets and what was measured as a Markdown table, for documents."""
    lines = ["| case | what | target | measured | |", "|---|---|---|---|---|"]
    lines += [f"| `{result.name}` | {' | '.join(row)} |" for result in results for row in result.verdicts()]
    return "\n".join(lines) + "\n"


def peers_table(results: Sequence[CaseResult]) -> str:
    """Write what we need by what other programs need for the same work as a Markdown table, for documents."""
    heads = ("case", "work", "beside", *(f"{metric.label}, us / peer" for metric in (CPU, WALL, PEAK)))
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for result in results:
        for row in result.peers:
            cells = " | ".join(row.cell(metric.key) for metric in (CPU, WALL, PEAK))
            lines.append(f"| `{result.name}` | {row.what} | {row.peer} | {cells} |")
    return "\n".join(lines) + "\n"
