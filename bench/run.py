"""Runs cases and writes what they found: text as they end; JSON, an HTML page and a table of targets at the end."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asynccache.errors import UsageError
from bench.bed import Bed
from bench.harness import REPOSITORY, ContenderError, floor_bytes, scratch_directory
from bench.machine import describe
from bench.page import render
from bench.results import CaseResult, Group

ROUNDS: Final = 5
RESULTS: Final = REPOSITORY / "bench" / "results"


@dataclass(frozen=True, slots=True)
class Case:
    """A case that can be asked for.

    Attributes:
        module: Module of `bench` that has it.
        function: Called with a `Bed`.
        summary: One line.
    """

    module: str
    function: str
    summary: str

    def run(self, bed: Bed) -> CaseResult:
        """Import and run it."""
        function: Callable[[Bed], CaseResult] = getattr(importlib.import_module(self.module), self.function)
        return function(bed)


_TRANSMUTE: Final = "bench.transmute_cases"
_CACHE: Final = "bench.cache_cases"
_MEMORY: Final = "bench.memory_cases"
_CATALOG: Final = "bench.catalog_cases"
_RESOLVE: Final = "bench.resolve_cases"
_HYDRATE: Final = "bench.hydrate_cases"
_METAFLOW: Final = "bench.metaflow_cases"
CASES: Final[dict[str, Case]] = {
    "limits": Case(_TRANSMUTE, "machine_limits", "how fast this machine's codecs and digests are"),
    "start": Case(_TRANSMUTE, "start", "what starting costs before any work"),
    "start-up": Case("bench.start_up_cases", "start_up", "commands with little to do, by what any program costs"),
    "transmute-to-conda": Case(_TRANSMUTE, "to_conda", ".tar.bz2 to .conda against other tools, CPU seconds"),
    "transmute-to-tar-bz2": Case(_TRANSMUTE, "to_tar_bz2", ".conda to .tar.bz2 against other tools, wall seconds"),
    "transmute-scaling": Case(_TRANSMUTE, "scaling", "several packages on one core and on two"),
    "cache-local": Case(_CACHE, "into_local", "60 packages into a local store, against the slowest stage alone"),
    "cache-s3": Case(_CACHE, "into_s3", "60 packages into an S3 server, against the slowest stage alone"),
    "cache-slow-source": Case(_CACHE, "from_slow_source", "60 packages with fetching as the slowest stage"),
    "no-op": Case(_CACHE, "no_op", "a run over 300 packages that are all there"),
    "warm": Case(_CATALOG, "warm", "10 environments of 100 packages that share 80, together"),
    "catalog": Case(_CATALOG, "catalog", "a list and lookups among 5,000 environments"),
    "resolve-flow": Case(_RESOLVE, "flow", "2 environments of a flow, warm index, against the conda executable"),
    "resolve-ten": Case(_RESOLVE, "ten", "10 environments at once, against the slowest of them alone"),
    "hydrate": Case(_HYDRATE, "environment", "a data-science environment from stores and from the node's packages"),
    "hydrate-wheels": Case(_HYDRATE, "wheels", "its wheels alone, against uv"),
    "hydrate-together": Case(_HYDRATE, "together", "16 processes that want one environment at once"),
    "bootstrap": Case(
        "bench.bootstrap_cases", "bootstrap", "a step's environment on a bare node, from pack and packages"
    ),
    "metaflow-import": Case(_METAFLOW, "importing", "what asynccache adds to `import metaflow`"),
    "metaflow-submit": Case(_METAFLOW, "submitting", "a flow whose environment is known, against Metaflow without"),
    "memory-transmute": Case(_MEMORY, "of_transmuting", "peak memory of transmuting by package size"),
    "memory-engine": Case(_MEMORY, "of_the_engine", "peak memory of the whole engine by package size"),
    "memory-in-flight": Case(_MEMORY, "in_flight", "peak memory with 64 packages in flight"),
    "lag": Case(_MEMORY, "loop_lag", "how long the event loop is busy while transmuting"),
}


def run(
    names: Sequence[str] = (),
    *,
    quick: bool = False,
    rounds: int | None = None,
    out: Path | None = None,
    tell: Callable[[str], None] = lambda _text: None,
    show: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Run cases and write `results.json`, `index.html` and `targets.md`.

    Args:
        names: Cases; all of them when empty.
        quick: Small inputs and one round: shows that everything works and measures nothing worth knowing.
        rounds: How often each contender runs; 5 when None, 1 on a quick run.
        out: Directory for the results; `bench/results` when None.
        tell: Told of every run.
        show: Told of each case's findings.

    Returns:
        The document that was written. A case that could not be measured has an `error`; the others are not affected.

    Raises:
        UsageError: There is no such case.
    """
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise UsageError(
            f"there is no benchmark {unknown[0]!r}", expected=", ".join(CASES), hint="`asynccache bench --list`"
        )
    out = out or RESULTS
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "format": 1,
        "machine": describe(),
        "command": _command(names, quick=quick, rounds=rounds),
        "quick": quick,
        "rounds": rounds or (1 if quick else ROUNDS),
    }
    scratch = scratch_directory()
    bed = Bed(scratch, rounds=document["rounds"], quick=quick, tell=tell)
    results = []
    try:
        for name in names or CASES:
            tell(f"{name}: {CASES[name].summary} (load {os.getloadavg()[0]:.1f})")
            results.append(_run_case(name, bed))
            show(describe_case(results[-1]))
    finally:
        bed.close()
        shutil.rmtree(scratch, ignore_errors=True)
    document["machine"] |= {"load_average_after": round(os.getloadavg()[0], 2), "peak_floor_bytes": floor_bytes()}
    document["cases"] = [result.as_document() for result in results]
    (out / "results.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (out / "targets.md").write_text(targets_table(results), encoding="utf-8")
    (out / "index.html").write_text(render(document, results), encoding="utf-8")
    return document


def _run_case(name: str, bed: Bed) -> CaseResult:
    started = time.perf_counter()
    try:
        result = CASES[name].run(bed)
    except (ContenderError, OSError, subprocess.SubprocessError) as exc:
        result = CaseResult(name, CASES[name].summary, "", error=str(exc))
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
        lines += [f"  {group.label}", *_table(result, group)]
    lines += [f"  {target}: {target.verdict}" for target in result.targets]
    lines += [f"  {note}" for note in result.notes]
    return "\n".join(lines)


def targets_table(results: Sequence[CaseResult]) -> str:
    """Write targets and what was measured as a Markdown table, for documents."""
    lines = ["| case | what | target | measured | |", "|---|---|---|---|---|"]
    for result in results:
        for target in result.targets:
            detail = f" ({target.detail})" if target.detail else ""
            measured = f"{target.text_measured}{detail}"
            lines.append(f"| `{result.name}` | {target.what} | {target.text_wanted} | {measured} | {target.verdict} |")
        if result.error:
            lines.append(f"| `{result.name}` | | | not measured | |")
    return "\n".join(lines) + "\n"


def _table(result: CaseResult, group: Group) -> list[str]:
    metrics = [m for m in result.metrics if any(s.values(m.key) for s in group.series)]
    if len(group.series) == 1 and len(metrics) > 5:
        (one,) = group.series
        return [f"    {m.label:<42} {m.text(one.median(m.key)):>14}" for m in metrics]
    width = max(len(s.name) for s in group.series)
    lines = []
    for series in group.series:
        parts = []
        for metric in metrics:
            if series.values(metric.key):
                found = group.ratios(metric.key).get(series.name)
                times = f" ({found.value:.2f}x)" if found and metric.key in {"cpu", "wall"} else ""
                parts.append(f"{metric.label} {metric.text(series.median(metric.key))}{times}")
        lines.append(f"    {series.name:<{width}}  {'; '.join(parts)}")
    return lines


def main() -> int:
    """Run everything from a checkout: `python -m bench.run [CASE]...`."""
    document = run(sys.argv[1:], tell=lambda text: print(text, file=sys.stderr, flush=True), show=print)
    return 1 if any(case["error"] for case in document["cases"]) else 0


if __name__ == "__main__":
    sys.exit(main())
