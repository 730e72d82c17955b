"""Resolving: two environments of a flow, and ten at once."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.bed import Bed
from bench.case import case
from bench.harness import Contender, ContenderError, serving, worker
from bench.index_input import PLAIN, SHARDED, load
from bench.peers import peer
from bench.results import CPU, PEAK, RUN, WALL, CaseResult, Metric

SAMPLED: Final = "conda-forge-sampled"
_FLOW: Final = {"train": ["scikit-learn", "matplotlib-base"], "serve": ["pandas", "requests"]}
_SERVE: Final = {"serve": _FLOW["serve"]}
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
    with index_served(bed) as (url, size):
        work: dict[str, Any] = {"requests": _FLOW, "settings": _settings(bed, url)}
        bed.run_once("resolve_tasks.solve", **work)
        ours = Contender("asynccache, rattler", worker("resolve_tasks.solve", **work))
        first, *others = series = bed.measure(ours, *_conda(bed, url))
    found.group(f"2 environments, warm index of {size / 1e6:.1f} MB as JSON", series)
    found.beside("2 environments of a flow, index read before", first, *others)
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
    with index_served(bed) as (url, size):
        work: dict[str, Any] = {"requests": _TEN, "settings": _settings(bed, url)}
        bed.run_once("resolve_tasks.solve", **work)
        together, apart = series = bed.measure(
            Contender("all at once", worker("resolve_tasks.solve", **work)),
            Contender("one after the other", worker("resolve_tasks.solve", **work, apart=True)),
        )
    found.group(f"10 environments, warm index of {size / 1e6:.1f} MB as JSON", series, compared=False)
    share = together.median("run_wall") / apart.median("slowest")
    found.at_most("ten at once by the slowest of them alone", 3.0, share, "x")


@case("resolve-full", "An index of conda-forge's size", metrics=(WALL, CPU, PEAK), plotted=("wall",))
def full_index(bed: Bed, found: CaseResult) -> None:
    """An environment of 38 packages out of 705,000 records, as one document and in shards, against py-rattler alone.

    The sampled index, its names copied until it has as many records as conda-forge had in 2026, served over HTTP on
    loopback: as one document for each subdirectory and in shards (CEP 16). Each contender is a process with its start;
    py-rattler alone reads the same address with the same library that asynccache solves with, and does nothing else.
    Warm: the index was read once before by the same contender. micromamba and conda, where they are found, read the
    document.
    """
    source = _sampled()
    directory = load(source, 20_000 if bed.quick else 705_000)
    with serving("tests.support.fault_server", str(directory), "--ttl", "3600") as (url, _pid):
        for form, channel in (("one document", PLAIN), ("in shards", SHARDED)):
            kept = {name: str(bed.scratch / f"{channel}-{name}") for name in ("ours", "rattler", "micromamba")}

            def ours(name: str, node: str, channel: str = channel) -> Contender:
                settings = {**_settings(bed, url), "cache_dir": node, "channels": [f"{url}/{channel}"]}
                return Contender(name, worker("resolve_tasks.solve", requests=_SERVE, settings=settings))

            def alone(name: str, node: str, channel: str = channel) -> Contender:
                arguments = {"channel": f"{url}/{channel}", "cache": node, "specs": ["python 3.12.*", *_SERVE["serve"]]}
                return Contender(name, worker("tools.rattler_solve", **arguments))

            warm = [ours("asynccache, warm", kept["ours"]), alone("py-rattler, warm", kept["rattler"])]
            cold = [ours("asynccache, cold", "{scratch}/node"), alone("py-rattler, cold", "{scratch}/node")]
            program = peer("micromamba") if channel == PLAIN else None
            if program:
                warm.append(_micromamba(program, "micromamba, warm", f"{url}/{channel}", kept["micromamba"]))
                cold.append(_micromamba(program, "micromamba, cold", f"{url}/{channel}", "{scratch}/node"))
            bed.measure(*warm, rounds=1)
            for contenders in (warm, cold):
                series = bed.measure(*contenders)
                label = f"{form}, {series[0].name.rpartition(' ')[2]}"
                found.group(label, series)
                found.beside(f"{len(_SERVE['serve'])} requirements out of 705,000 records, {label}", *series)
    for group in found.groups:
        first, others = group.series[0], group.ratios("wall")
        rattler = next(times for name, times in others.items() if name.startswith("py-rattler"))
        found.at_most(f"{group.label}, wall, by py-rattler alone", 1.3, 1 / rattler.value, "x")
        if group.label.endswith("warm"):
            found.at_most(f"{group.label}, peak", 200.0, first.median("peak") / 1e6, "MB")
        for name, times in others.items():
            if name.startswith("micromamba"):
                found.at_most(f"{group.label}, wall, by {name}", 0.6, 1 / times.value, "x")


def _micromamba(program: str, name: str, channel: str, root: str) -> Contender:
    words = [program, "create", "--yes", "--dry-run", "--json", "--quiet", "--override-channels", "-c", channel]
    words += ["--root-prefix", root, "--prefix", "{scratch}/env", "python=3.12", *_SERVE["serve"]]
    return Contender(name, words, {"CONDA_OVERRIDE_GLIBC": "2.28"})


def _settings(bed: Bed, url: str) -> dict[str, object]:
    return {
        "cache_dir": str(bed.scratch / "resolve-node"),
        "channels": [f"{url}/{SAMPLED}"],
        "conda_dependency_resolver": "rattler",
        "pin_virtual_packages": True,
        "sys_default_packages": {"linux-64": {"__glibc": "2.28"}},
    }


@contextlib.contextmanager
def index_served(bed: Bed) -> Iterator[tuple[str, int]]:
    """Serve the sampled index; yield its channel's address and its size in bytes."""
    source = _sampled()
    with bed.directory() as root:
        size = 0
        for subdir in ("linux-64", "noarch"):
            packed = source / subdir / "repodata.json.zst"
            (root / SAMPLED / subdir).mkdir(parents=True)
            copy = Path(shutil.copy(packed, root / SAMPLED / subdir))
            subprocess.run(["zstd", "-q", "-d", str(copy)], check=True)  # keeps what it reads
            size += copy.with_suffix("").stat().st_size
        with serving("tests.support.fault_server", str(root), "--ttl", "600") as (url, _pid):
            yield url, size


def _sampled() -> Path:
    from tests.support.testdata import find_testdata  # noqa: PLC0415 - the measuring process stays small

    source = (find_testdata() or Path("absent")) / "repodata" / SAMPLED
    if not source.is_dir():
        raise ContenderError("no index of a real channel is here: ASYNCCACHE_TESTDATA names the directory of test data")
    return source


def _conda(bed: Bed, url: str) -> list[Contender]:
    """Return the conda executable solving the same requests one after the other, nothing if there is none."""
    program = peer("conda")
    lines = [
        f"{program} create --yes --dry-run --json --override-channels -c {url}/{SAMPLED}"
        f" --prefix {{scratch}}/{name} python=3.12 {' '.join(wanted)} > /dev/null"
        for name, wanted in _FLOW.items()
    ]
    variables = {"CONDA_PKGS_DIRS": str(bed.scratch / "conda-packages"), "CONDA_OVERRIDE_GLIBC": "2.28"}
    return [Contender("conda", ["sh", "-e", "-c", "\n".join(lines)], variables)] if program else []
