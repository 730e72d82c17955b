"""Resolving: two environments of a flow, and ten at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import zstandard

from bench.bed import Bed
from bench.cache_cases import RUN
from bench.harness import REPOSITORY, Contender, ContenderError, worker
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Metric, Target

SLOWEST: Final = Metric("slowest", "slowest one alone", "s")
_CHANNEL: Final = "conda-forge-sampled"
_SUBDIRS: Final = ("linux-64", "noarch")
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
_ABOUT: Final = (
    "The index is a sample of conda-forge ({size:.1f} MB as JSON), served over HTTP on loopback; it was read once "
    "before, so that only its freshness is asked. Nothing is cached: solving alone is measured."
)


def flow(bed: Bed) -> CaseResult:
    """Two environments of a flow."""
    with _index(bed) as (url, size):
        result = CaseResult(
            "resolve-flow", "Two environments of a flow", _ABOUT.format(size=size), metrics=(RUN, WALL, CPU, PEAK)
        )
        settings = _settings(bed, url)
        ours = Contender("asynccache, rattler", worker("resolve", requests=_FLOW, settings=settings))
        bed.run_once("resolve", requests=_FLOW, settings=settings)
        conda = _conda(bed, url)
        series = bed.measure([ours, *([conda] if conda else [])])
    result.groups.append(Group("2 environments, warm index", series))
    if conda is None:
        result.notes.append("No conda executable was found to compare with (ASYNCCACHE_TEST_CONDA names one).")
    else:
        times = series[1].median("wall") / series[0].median("wall")
        result.targets = [Target("times faster than the conda executable", 5.0, times, True, "x", "process and all")]
    return result


def ten(bed: Bed) -> CaseResult:
    """Ten environments at once, and each of them alone."""
    with _index(bed) as (url, size):
        result = CaseResult(
            "resolve-ten", "Ten environments", _ABOUT.format(size=size), metrics=(RUN, SLOWEST, WALL, CPU, PEAK)
        )
        settings = _settings(bed, url)
        bed.run_once("resolve", requests=_TEN, settings=settings)
        series = bed.measure(
            [
                Contender("all at once", worker("resolve", requests=_TEN, settings=settings)),
                Contender("one after the other", worker("resolve", requests=_TEN, settings=settings, apart=True)),
            ]
        )
    result.groups.append(Group("10 environments, warm index", series, compared=False))
    together, apart = series
    share = together.median("run_wall") / apart.median("slowest")
    result.targets = [Target("ten at once by the slowest of them alone", 3.0, share, False, "x")]
    return result


def _settings(bed: Bed, url: str) -> dict[str, object]:
    return {
        "cache_dir": str(bed.scratch / "resolve-node"),
        "channels": [f"{url}/{_CHANNEL}"],
        "conda_dependency_resolver": "rattler",
        "pin_virtual_packages": True,
        "sys_default_packages": {"linux-64": {"__glibc": "2.28"}},
    }


@contextlib.contextmanager
def _index(bed: Bed) -> Iterator[tuple[str, float]]:
    """Serve the sampled index; yield its address and its size in megabytes."""
    from tests.support.testdata import find_testdata  # noqa: PLC0415 - the measuring process stays small

    source = (find_testdata() or Path("absent")) / "repodata" / _CHANNEL
    if not source.is_dir():
        raise ContenderError("no index of a real channel is here: ASYNCCACHE_TESTDATA names the directory of test data")
    with bed.directory() as root:
        size = 0
        for subdir in _SUBDIRS:
            data = (source / subdir / "repodata.json.zst").read_bytes()
            (root / _CHANNEL / subdir).mkdir(parents=True)
            text = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            (root / _CHANNEL / subdir / "repodata.json").write_bytes(text)
            (root / _CHANNEL / subdir / "repodata.json.zst").write_bytes(data)
            size += len(text)
        command = [sys.executable, "-m", "tests.support.fault_server", str(root), "--ttl", "600"]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().strip(), size / 1e6
            finally:
                process.kill()


def _conda(bed: Bed, url: str) -> Contender | None:
    """Return the conda executable solving the same requests one after the other, None when there is none."""
    program = os.environ.get("ASYNCCACHE_TEST_CONDA") or shutil.which("conda")
    if program is None:
        return None
    packages = bed.scratch / "conda-packages"

    def command(directory: Path) -> Sequence[str]:
        lines = [
            f"{program} create --yes --dry-run --json --override-channels -c {url}/{_CHANNEL}"
            f" --prefix {directory}/{name} python=3.12 {' '.join(wanted)} > /dev/null"
            for name, wanted in _FLOW.items()
        ]
        return ["sh", "-e", "-c", "\n".join(lines)]

    environment: Mapping[str, str] = {"CONDA_PKGS_DIRS": str(packages), "CONDA_OVERRIDE_GLIBC": "2.28"}
    return Contender("conda", command, environment)
