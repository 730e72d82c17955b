"""Hydrating a data-science environment: from stores and from the node's packages, against the limit and other tools."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bench.bed import Bed, Place
from bench.cache_cases import REQUESTS, RUN, settings_for
from bench.harness import REPOSITORY, Contender, ContenderError, worker
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Metric, Target

LINK = Metric("link_wall", "of which linking", "s")
FETCHED = Metric("fetched", "bytes fetched", "MB")
_DELAY = 0.01  # seconds
_LIMIT = "zstd -d | tar x"


def environment(bed: Bed) -> CaseResult:
    """Hydrate from a local store, from S3, and from the node's packages."""
    result = CaseResult(
        "hydrate",
        "Hydrating a data-science environment",
        "Python, numpy, pandas, scipy, requests and what they need, conda packages and wheels, from the store until "
        "its Python has run. Conda packages lie in the store as .conda, and for one more contender as they are "
        f"published, half of them .tar.bz2. The limit unpacks one zstd archive of the same files with `{_LIMIT}`. The "
        "page cache is warm for all of them. S3 is SeaweedFS on loopback, its data in memory, behind a proxy that "
        "holds back each request for 10 ms. Package cache warm: the packages lie extracted on the node. Packed: from "
        "one object instead of packages, which brings byte code along: its limit unpacks an archive that has it too.",
        metrics=(RUN, WALL, CPU, PEAK, LINK, REQUESTS, FETCHED),
        plotted=("run_wall",),
    )
    with bed.directory() as directory, _filled(bed, directory) as (local, remote, said):
        document = str(directory / "env.json")
        cold = {"document": document, "prefix": "{scratch}/env"}
        warm = {**settings_for(local, root=local.root), "cache_dir": str(directory / "node")}
        bed.run_once("hydrate", settings=warm, document=document, prefix=str(directory / "first"))
        published = Place(str(directory / "published-store"))
        (directory / "published").mkdir()
        filling = {**settings_for(published, root=published.root), "cache_dir": str(directory / "published/filling")}
        bed.run_once("hydrate-fill", settings=filling, out=str(directory / "published"), quick=bed.quick, wanted=None)
        slow = {**cold, "document": str(directory / "published/env.json")}
        filling = {"cache_dir": str(directory / "packing")}
        packed = bed.run_once(
            "hydrate-pack",
            settings={**settings_for(local, root=local.root), **filling},
            document=document,
            archive=str(directory / "packed.tar.zst"),
        )
        bed.run_once(
            "hydrate-pack", remote, settings={**settings_for(remote, root=remote.root), **filling}, document=document
        )
        contenders = [
            Contender("limit: " + _LIMIT, lambda run: _unpack(directory / "tree.tar.zst", run)),
            Contender("local store", worker("hydrate", settings=settings_for(local, root=local.root), **cold)),
            Contender(
                "S3, 10 ms away",
                worker("hydrate", settings=settings_for(remote, root=remote.root), **cold),
                remote.environment,
            ),
            Contender("package cache warm", worker("hydrate", settings=warm, **cold)),
            Contender(
                "local store, half .tar.bz2",
                worker("hydrate", settings=settings_for(published, root=published.root), **slow),
            ),
            Contender("limit with byte code", lambda run: _unpack(directory / "packed.tar.zst", run)),
            Contender(
                "packed, local store",
                worker("hydrate", settings=settings_for(local, root=local.root), packed=True, **cold),
            ),
            Contender(
                "packed, S3, 10 ms away",
                worker("hydrate", settings=settings_for(remote, root=remote.root), packed=True, **cold),
                remote.environment,
            ),
        ]
        series = bed.measure(contenders)
        label = (
            f"{said['packages']:.0f} packages ({said['wheels']:.0f} wheels), {said['files']:.0f} files, "
            f"{said['bytes'] / 1e6:.0f} MB unpacked, {said['archive'] / 1e6:.0f} MB as one archive"
        )
        result.groups.append(Group(label, series, compared=False))
        limit, here, there, linked, _old, compiled, unpacked, unpacked_there = series
        bound, count = limit.median("wall"), said["packages"]
        packed_bound = compiled.median("wall")
        result.targets = [
            Target("local store to running Python, by the limit", 2.5, here.median("run_wall") / bound, False, "x"),
            Target("S3 to running Python, by the limit", 2.5, there.median("run_wall") / bound, False, "x"),
            Target("package cache warm", 1.0, linked.median("run_wall"), False, "s", f"{count:.0f} packages"),
            Target("packed, local store, by its limit", 1.4, unpacked.median("run_wall") / packed_bound, False, "x"),
            Target("packed, S3, by its limit", 1.4, unpacked_there.median("run_wall") / packed_bound, False, "x"),
            Target("packed, requests to S3", 12, unpacked_there.median("store_requests"), False, ""),
            Target("requests to S3 beyond one a package", 3, there.median("store_requests") - count, False, ""),
            Target("peak memory", 300.0, max(s.median("peak") for s in series[1:]) / 1e6, False, "MB"),
        ]
        result.notes.append(
            f"The pack has {packed['size'] / 1e6:.0f} MB, {packed['files']:.0f} files and "
            f"{packed['bytes'] / 1e6:.0f} MB unpacked; making it took {packed['seconds']:.0f} s."
        )
        result.notes.append(
            f"Linking takes {here.median('link_wall') / here.median('hydrate_wall'):.0%} of a hydration from a local "
            "store; the library links a whole environment at once, so it begins when the last package is extracted."
        )
    return result


def wheels(bed: Bed) -> CaseResult:
    """Install the wheels alone, against uv."""
    result = CaseResult(
        "hydrate-wheels",
        "Installing the wheels of an environment",
        "The environment's wheels from local files into a directory: by `uv pip install --no-deps --no-index "
        "--offline` with an empty cache and again with its cache filled; by the whole command `asynccache create` of "
        "an environment whose conda packages lie extracted on the node, less what the same command takes without them.",
        metrics=(WALL, CPU, PEAK),
        plotted=("wall",),
    )
    with bed.directory() as directory, _filled(bed, directory) as (local, _remote, _said):
        files = sorted(str(p) for p in (directory / "wheels").glob("*.whl"))
        if not files:
            raise ContenderError("a quick run has no wheels")
        document = json.loads((directory / "env.json").read_text("utf-8"))
        conda = {**document, "packages": [p for p in document["packages"] if p["_type"] == "conda"]}
        (directory / "conda.json").write_text(json.dumps(conda), encoding="utf-8")
        store = settings_for(local, root=local.root)
        for name, which in (("node", "conda.json"), ("full", "env.json")):
            place = {**store, "cache_dir": str(directory / name)}
            first = str(directory / f"{name}-env")
            bed.run_once("hydrate", settings=place, document=str(directory / which), prefix=first)
        prepared = directory / "node-env" / "bin" / "python"
        uv = str(Path(sys.executable).with_name("uv"))
        words = [uv, "pip", "install", "--no-deps", "--no-index", "--offline", "--no-config", "--python", str(prepared)]

        def by_uv(run: Path, cache: Path) -> list[str]:
            return [*words, "--cache-dir", str(cache), "--target", str(run / "site"), *files]

        def ours(node: str, which: str) -> Contender:
            def command(run: Path) -> list[str]:
                copy = run / "node"
                shutil.copytree(directory / node, copy, symlinks=True, copy_function=_linked)
                settings = {**store, "cache_dir": str(copy)}
                arguments = {"settings": settings, "document": str(directory / which), "prefix": str(run / "env")}
                return worker("hydrate", **arguments, run=False)(run)

            has = "all extracted" if node == "full" else "conda packages extracted"
            return Contender(f"ours, {'with' if which == 'env.json' else 'without'} wheels, {has}", command)

        subprocess.run(by_uv(directory, directory / "uv"), check=True, capture_output=True)
        contenders = [
            Contender("uv, empty cache", lambda run: by_uv(run, run / "uv")),
            Contender("uv, its cache filled", lambda run: by_uv(run, directory / "uv")),
            ours("node", "conda.json"),
            ours("node", "env.json"),
            ours("full", "env.json"),
        ]
        series = bed.measure(contenders)
        result.groups.append(Group(f"{len(files)} wheels", series, compared=False))
        empty, filled, base, cold, warm = (s.median("wall") for s in series)
        result.targets = [
            Target("extract and install the wheels, by uv with an empty cache", 1.5, (cold - base) / empty, False, "x"),
            Target("install extracted wheels, by uv with its cache filled", 1.5, (warm - base) / filled, False, "x"),
        ]
    return result


def together(bed: Bed) -> CaseResult:
    """Sixteen processes that want one environment at the same moment."""
    count = 4 if bed.quick else 16
    result = CaseResult(
        "hydrate-together",
        f"{count} tasks that start at once on one node",
        "Processes that hydrate the same prefix from an empty node at the same moment, from a local store, against one "
        "process alone. Their imports are done before; wall time from their common beginning to the end of the last.",
        metrics=(RUN, CPU, FETCHED),
        plotted=("run_wall",),
    )
    with bed.directory() as directory, _filled(bed, directory) as (local, _remote, _said):
        store = settings_for(local, root=local.root)
        arguments = {"settings": store, "document": str(directory / "env.json"), "prefix": "{scratch}/env"}
        contenders = [
            Contender("one", worker("hydrate-many", **arguments, count=1)),
            Contender(f"{count} at once", worker("hydrate-many", **arguments, count=count)),
        ]
        series = bed.measure(contenders)
    result.groups.append(Group("one prefix", series))
    one, many = series
    result.targets = [
        Target("bytes fetched by those for one", 1.0, many.median("fetched") / one.median("fetched"), False, "x"),
        Target("wall time by that of one", 1.3, many.median("run_wall") / one.median("run_wall"), False, "x"),
    ]
    return result


@contextlib.contextmanager
def _filled(bed: Bed, directory: Path) -> Iterator[tuple[Place, Place, Mapping[str, float]]]:
    """Make a local and an S3 store that hold the environment; its document lies in the directory."""
    local = Place(str(directory / "store"))
    settings = {**settings_for(local, root=local.root), "cache_dir": str(directory / "filling")}
    said = bed.run_once("hydrate-fill", settings=settings, out=str(directory), quick=bed.quick)
    server = bed.s3()
    root = server.root.replace("{run}", "hydrate")
    with bed.directory() as other:
        settings = {**settings_for(server, root=root), "cache_dir": str(other / "filling")}
        bed.run_once("hydrate-fill", server, settings=settings, out=str(other), quick=bed.quick)
    port = str(server.endpoint).rpartition(":")[2]
    command = [sys.executable, "-m", "bench.slow_proxy", port, str(_DELAY), "3600"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            url = proxy.stdout.readline().strip()
            if not url:
                raise ContenderError("the proxy did not start")
            yield local, replace(server, root=root, endpoint=url), said
        finally:
            proxy.kill()


def _unpack(archive: Path, run: Path) -> list[str]:
    (run / "env").mkdir()
    return ["sh", "-c", f"zstd -q -d -c {archive} | tar -C {run / 'env'} -xf -"]


def _linked(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
