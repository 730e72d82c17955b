"""Resolving: two environments of a flow, and ten at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.bed import Bed
from bench.case import case
from bench.harness import Contender, ContenderError, serving, worker
from bench.results import CPU, PEAK, RUN, WALL, CaseResult, Metric

_CHANNEL: Final = "conda-forge-sampled"
_FLOW: Final = {"train": ["scikit-learn", "matplotlib-base"], "serve": ["pandas", "requests"]}
_TEN: Final = {
    **_FLOW,
    "lab": ["jupyterlab"],
    "clusters": ["dask-core", "xgboost"],
    "torch": ["pytorch"],
    "cloud": ["awscli"],
    "columns": ["pyarrow"],
    "frames": ["polars"],
    "plain": ["numpy"],
    "lint": ["ruff"],
}


@case("resolve-flow", "Two environments of a flow", metrics=(RUN, WALL, CPU, PEAK))
def flow(bed: Bed, found: CaseResult) -> None:
    """2 environments of a flow, warm index, against the conda executable.

    The index is a sample of conda-forge, served over HTTP on loopback; it was read once before, so that only its
    freshness is asked. Nothing is cached: solving alone is measured.
    """
    with _index(bed) as (url, size):
        work: dict[str, Any] = {"requests": _FLOW, "settings": _settings(bed, url)}
        bed.run_once("resolve_tasks.solve", **work)
        ours = Contender("asynccache, rattler", worker("resolve_tasks.solve", **work))
        first, *others = series = bed.measure(ours, *_conda(bed, url))
    found.group(f"2 environments, warm index of {size / 1e6:.1f} MB as JSON", series)
    for conda in others:
        times = conda.median("wall") / first.median("wall")
        found.at_least("times faster than the conda executable", 5.0, times, "x", "process and all")
    if not others:
        found.notes.append("No conda executable was found to compare with (ASYNCCACHE_TEST_CONDA names one).")


@case("resolve-ten", "Ten environments", metrics=(RUN, Metric("slowest", "slowest one alone", "s"), WALL, CPU, PEAK))
def ten(bed: Bed, found: CaseResult) -> None:
    """10 environments at once, against the slowest of them alone.

    On the index of resolve-flow, read once before. Nothing is cached: solving alone is measured.
    """
    with _index(bed) as (url, size):
        work: dict[str, Any] = {"requests": _TEN, "settings": _settings(bed, url)}
        bed.run_once("resolve_tasks.solve", **work)
        together, apart = series = bed.measure(
            Contender("all at once", worker("resolve_tasks.solve", **work)),
            Contender("one after the other", worker("resolve_tasks.solve", **work, apart=True)),
        )
    found.group(f"10 environments, warm index of {size / 1e6:.1f} MB as JSON", series, compared=False)
    share = together.median("run_wall") / apart.median("slowest")
    found.at_most("ten at once by the slowest of them alone", 3.0, share, "x")


def _settings(bed: Bed, url: str) -> dict[str, object]:
    return {
        "cache_dir": str(bed.scratch / "resolve-node"),
        "channels": [f"{url}/{_CHANNEL}"],
        "conda_dependency_resolver": "rattler",
        "pin_virtual_packages": True,
        "sys_default_packages": {"linux-64": {"__glibc": "2.28"}},
    }


@contextlib.contextmanager
def _index(bed: Bed) -> Iterator[tuple[str, int]]:
    """Serve the sampled index; yield its address and its size in bytes."""
    from tests.support.testdata import find_testdata  # noqa: PLC0415 - the measuring process stays small

    source = (find_testdata() or Path("absent")) / "repodata" / _CHANNEL
    if not source.is_dir():
        raise ContenderError("no index of a real channel is here: ASYNCCACHE_TESTDATA names the directory of test data")
    with bed.directory() as root:
        size = 0
        for subdir in ("linux-64", "noarch"):
            packed = source / subdir / "repodata.json.zst"
            (root / _CHANNEL / subdir).mkdir(parents=True)
            copy = Path(shutil.copy(packed, root / _CHANNEL / subdir))
            subprocess.run(["zstd", "-q", "-d", str(copy)], check=True)  # keeps what it reads
            size += copy.with_suffix("").stat().st_size
        with serving("tests.support.fault_server", str(root), "--ttl", "600") as (url, _pid):
            yield url, size


def _conda(bed: Bed, url: str) -> list[Contender]:
    """Return the conda executable solving the same requests one after the other, nothing when there is none."""
    program = os.environ.get("ASYNCCACHE_TEST_CONDA") or shutil.which("conda")
    lines = [
        f"{program} create --yes --dry-run --json --override-channels -c {url}/{_CHANNEL}"
        f" --prefix {{scratch}}/{name} python=3.12 {' '.join(wanted)} > /dev/null"
        for name, wanted in _FLOW.items()
    ]
    variables = {"CONDA_PKGS_DIRS": str(bed.scratch / "conda-packages"), "CONDA_OVERRIDE_GLIBC": "2.28"}
    return [Contender("conda", ["sh", "-e", "-c", "\n".join(lines)], variables)] if program else []
