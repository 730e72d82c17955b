"""Hydrating a data-science environment: from stores and from the node's packages, against the limit and other tools."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.bed import Bed, Place
from bench.case import case
from bench.harness import Contender, ContenderError, serving, without, worker
from bench.peers import peer
from bench.results import CPU, FETCHED, PEAK, REQUESTS, RUN, WALL, CaseResult, Metric

_DELAY: Final = 0.01  # seconds
_WHEELS: Final = "ASYNCCACHE_BENCH_WHEELS"  # a directory of wheels to take instead of the usual ones


def unpacking(name: str, archive: Path) -> Contender:
    """Return the limit of making an environment: one archive of the same files, unpacked."""
    words = ["sh", "-c", f"zstd -q -d -c {archive} | tar -C {{scratch}}/env -xf -"]
    return Contender(name, words, prepare=lambda run: (run / "env").mkdir())


@case(
    "hydrate",
    "Hydrating a data-science environment",
    metrics=(RUN, WALL, CPU, PEAK, Metric("link_wall", "of which linking", "s"), REQUESTS, FETCHED),
    plotted=("run_wall",),
)
def environment(bed: Bed, found: CaseResult) -> None:
    """A data-science environment from stores and from the node's packages.

    Python, numpy, pandas, scipy, requests and what they need, conda packages and wheels, from the store until its
    Python has run. Conda packages are in the store as .conda, and for one more contender as they are published, half of
    them .tar.bz2. The limit unpacks one zstd archive of the same files with `zstd -d | tar x`. The page cache is warm
    for all of them. S3 is SeaweedFS on loopback, its data in memory, behind a proxy that holds back each request for 10
    ms. Package cache warm: the packages are extracted on the node. Packed: from one object instead of packages, which
    brings byte code along: its limit unpacks an archive that has it too.
    """
    with bed.directory() as directory, _filled(bed, directory) as (local, remote, said):
        document = str(directory / "env.json")
        cold = {"document": document, "prefix": "{scratch}/env"}
        warm = local.settings(cache_dir=str(directory / "node"))
        bed.run_once("hydrate_tasks.hydrate", local, settings=warm, document=document, prefix=str(directory / "first"))
        published, other = Place(str(directory / "published-store")), directory / "published"
        other.mkdir()
        fill(bed, published, other, wanted=None)
        packing = str(directory / "packing")
        packed = bed.run_once(
            "hydrate_tasks.pack",
            local,
            settings=local.settings(cache_dir=packing),
            document=document,
            archive=str(directory / "packed.tar.zst"),
        )
        bed.run_once("hydrate_tasks.pack", remote, settings=remote.settings(cache_dir=packing), document=document)

        def hydrated(name: str, place: Place, **arguments: object) -> Contender:
            return place.contender(name, "hydrate_tasks.hydrate", **{**cold, **arguments})

        limit, here, there, linked, _old, compiled, unpacked, unpacked_there = series = bed.measure(
            unpacking("limit: zstd -d | tar x", directory / "tree.tar.zst"),
            hydrated("local store", local),
            hydrated("S3, 10 ms away", remote),
            hydrated("package cache warm", local, settings=warm),
            hydrated("local store, half .tar.bz2", published, document=str(other / "env.json")),
            unpacking("limit with byte code", directory / "packed.tar.zst"),
            hydrated("packed, local store", local, packed=True),
            hydrated("packed, S3, 10 ms away", remote, packed=True),
        )
    found.group(
        f"{said['packages']:.0f} packages ({said['wheels']:.0f} wheels), {said['files']:.0f} files, "
        f"{said['bytes'] / 1e6:.0f} MB unpacked, {said['archive'] / 1e6:.0f} MB as one archive",
        series,
        compared=False,
    )
    bound, packed_bound, count = limit.median("wall"), compiled.median("wall"), said["packages"]
    found.at_most("local store to running Python, by the limit", 2.5, here.median("run_wall") / bound, "x")
    found.at_most("S3 to running Python, by the limit", 2.5, there.median("run_wall") / bound, "x")
    found.at_most("package cache warm", 1.0, linked.median("run_wall"), "s", f"{count:.0f} packages")
    found.at_most("packed, local store, by its limit", 1.4, unpacked.median("run_wall") / packed_bound, "x")
    found.at_most("packed, S3, by its limit", 1.4, unpacked_there.median("run_wall") / packed_bound, "x")
    found.at_most("packed, requests to S3", 12, unpacked_there.median("store_requests"), "")
    found.at_most("requests to S3 beyond one a package", 3, there.median("store_requests") - count, "")
    found.at_most("peak memory", 300.0, max(s.median("peak") for s in series[1:]) / 1e6, "MB")
    found.notes.append(
        f"The pack has {packed['size'] / 1e6:.0f} MB, {packed['files']:.0f} files and "
        f"{packed['bytes'] / 1e6:.0f} MB unpacked; making it took {packed['seconds']:.0f} s."
    )
    found.notes.append(
        f"Linking takes {here.median('link_wall') / here.median('hydrate_wall'):.0%} of a hydration from a local "
        "store; the library links a whole environment at once, so it begins when the last package is extracted."
    )


@case("hydrate-wheels", "Installing the wheels of an environment", metrics=(WALL, CPU, PEAK), plotted=("wall",))
def wheels(bed: Bed, found: CaseResult) -> None:
    """Its wheels alone, against uv.

    The environment's wheels from local files into a directory: by `uv pip install --no-deps --no-index --offline` with
    an empty cache and again with its cache filled; by the whole command `asynccache create` of an environment whose
    conda packages are extracted on the node, less what the same command takes without them.
    """
    with bed.directory() as directory, _filled(bed, directory) as (local, _remote, _said):
        files = sorted(str(p) for p in (directory / "wheels").glob("*.whl"))
        if not files:
            raise ContenderError("a quick run has no wheels")
        document = json.loads((directory / "env.json").read_text("utf-8"))
        conda = {**document, "packages": [p for p in document["packages"] if p["_type"] == "conda"]}
        (directory / "conda.json").write_text(json.dumps(conda), encoding="utf-8")
        for name, which in (("node", "conda.json"), ("full", "env.json")):
            settings = local.settings(cache_dir=str(directory / name))
            first = {"document": str(directory / which), "prefix": str(directory / f"{name}-env")}
            bed.run_once("hydrate_tasks.hydrate", local, settings=settings, **first)
        words = [peer("uv") or "uv", "pip", "install", "--no-deps", "--no-index", "--offline"]
        words += ["--no-config", "--python", str(directory / "node-env" / "bin" / "python")]

        def by_uv(cache: str, target: str) -> list[str]:
            return [*words, "--cache-dir", cache, "--target", target, *files]

        def ours(name: str, node: str, which: str) -> Contender:
            arguments = {"document": str(directory / which), "prefix": "{scratch}/env", "run": False}
            command = worker("hydrate_tasks.hydrate", settings=local.settings(), **arguments)
            return Contender(f"ours, {name}", command, prepare=lambda run: _linked(directory / node, run / "node"))

        kept = str(directory / "uv")
        subprocess.run(by_uv(kept, str(directory / "site")), check=True, capture_output=True)
        series = bed.measure(
            Contender("uv, empty cache", by_uv("{scratch}/uv", "{scratch}/site")),
            Contender("uv, its cache filled", by_uv(kept, "{scratch}/site")),
            ours("without wheels, conda packages extracted", "node", "conda.json"),
            ours("with wheels, conda packages extracted", "node", "env.json"),
            ours("with wheels, all extracted", "full", "env.json"),
        )
    found.group(f"{len(files)} wheels", series, compared=False)
    empty, filled, base, cold, warm = (s.median("wall") for s in series)
    alone, cached, bare, extracting, linking = series
    for what, made, uv in (("extracted and installed", extracting, alone), ("installed, extracted", linking, cached)):
        found.beside(f"{len(files)} wheels {what}", without(made, bare), uv)
    found.at_most("extract and install the wheels, by uv with an empty cache", 1.0, (cold - base) / empty, "x")
    found.at_most("install extracted wheels, by uv with its cache filled", 1.5, (warm - base) / filled, "x")


@case("hydrate-together", "Tasks that start at once on one node", metrics=(RUN, CPU, FETCHED), plotted=("run_wall",))
def together(bed: Bed, found: CaseResult) -> None:
    """16 processes that want one environment at once.

    Processes that hydrate the same prefix from an empty node at the same moment, from a local store, against one
    process alone. Their imports are done before; wall time from their common beginning to the end of the last.
    """
    count = 4 if bed.quick else 16
    with bed.directory() as directory, _filled(bed, directory) as (local, _remote, _said):
        wanted = {"document": str(directory / "env.json"), "prefix": "{scratch}/env"}
        one, many = series = bed.measure(
            local.contender("one", "hydrate_tasks.many", **wanted, count=1),
            local.contender(f"{count} at once", "hydrate_tasks.many", **wanted, count=count),
        )
    found.group("one prefix", series)
    found.at_most("bytes fetched by those for one", 1.0, many.median("fetched") / one.median("fetched"), "x")
    found.at_most("wall time by that of one", 1.3, many.median("run_wall") / one.median("run_wall"), "x")


def fill(bed: Bed, place: Place, directory: Path, **arguments: object) -> Mapping[str, float]:
    """Put the environment into a store; its document is in the directory."""
    settings = place.settings(cache_dir=str(directory / "filling"))
    return bed.run_once(
        "hydrate_tasks.fill",
        place,
        settings=settings,
        out=str(directory),
        quick=bed.quick,
        given=os.environ.get(_WHEELS, ""),
        **arguments,
    )


@contextlib.contextmanager
def _filled(bed: Bed, directory: Path) -> Iterator[tuple[Place, Place, Mapping[str, float]]]:
    """Make a local and an S3 store that hold the environment; its document is in the directory."""
    local, remote = Place(str(directory / "store")), bed.s3().named("hydrate")
    said = fill(bed, local, directory)
    with bed.directory() as other:
        fill(bed, remote, other)
    port = str(remote.endpoint).rpartition(":")[2]
    with serving("bench.slow_proxy", port, str(_DELAY), "3600") as (url, _pid):
        yield local, replace(remote, endpoint=url), said


def _linked(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=lambda old, new: Path(new).hardlink_to(old))
