"""Many environments: warmed together, listed, looked up."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.bed import Bed
from bench.cache_cases import RUN, settings_for
from bench.harness import Contender, worker
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Metric, Target

FETCHED = Metric("fetched", "bytes fetched", "MB")
REQUESTS = Metric("store_requests", "requests to the store", "")
FIRST = Metric("first", "first lookup", "ms")
MEDIAN = Metric("median", "lookup, median", "ms")
MOST = Metric("most", "lookup, slowest", "ms")


def warm(bed: Bed) -> CaseResult:
    """Ten environments that share most of their packages."""
    count, size, shared = (3, 10, 8) if bed.quick else (10, 100, 80)
    result = CaseResult(
        "warm",
        f"{count} environments of {size} packages, {shared} of them the same",
        "The environments are warmed together into an empty S3 store (SeaweedFS on loopback), and once more when "
        "everything is there. Bytes that are fetched are counted against the sizes of the distinct packages.",
        metrics=(RUN, WALL, CPU, PEAK, FETCHED, REQUESTS),
        plotted=("run_wall",),
    )
    archives = bed.inputs("many")[: shared + count * (size - shared)]
    distinct = sum(a.size for a in archives)
    place = bed.s3()
    with bed.directory() as directory, bed.channel(archives) as channel:
        packages = bed.write_list([a.address(channel.url) for a in archives], directory)
        work = {"packages": packages, "count": count, "size": size, "shared": shared}
        cold = {**settings_for(place), "datastore_root": "{scratch}/here"}
        root = place.root.replace("{run}", "warm")
        ready = {
            **settings_for(place, root=root),
            "cache_dir": str(directory / "node"),
            "datastore_root": str(directory),
        }
        bed.run_once("warm", place, settings=ready, **work)
        series = bed.measure(
            [
                Contender("empty store", worker("warm", settings=cold, **work), place.environment),
                Contender("second time", worker("warm", settings=ready, **work), place.environment),
            ]
        )
    result.groups.append(Group(f"{len(archives)} distinct packages, {count * size} named", series, compared=False))
    first, second = series
    result.targets = [
        Target(
            "bytes fetched by the bytes of the distinct packages", 1.0, first.median("fetched") / distinct, False, "x"
        ),
        Target("a second warm, process and all", 1.0, second.median("wall"), False, "s", "start-up included"),
    ]
    result.notes.append(
        f"Distinct packages: {distinct} bytes; fetched: {first.median('fetched'):.0f} bytes, "
        f"the second time {second.median('fetched'):.0f}."
    )
    return result


def catalog(bed: Bed) -> CaseResult:
    """A list and lookups among five thousand environments."""
    count, size = (200, 5) if bed.quick else (5000, 50)
    result = CaseResult(
        "catalog",
        f"A catalog of {count} environments of {size} packages",
        "`asynccache env ls --local` on a manifest with that many environments, and lookups by name in a fresh "
        "process; the same list from an S3 store (SeaweedFS on loopback) whose documents were read before. The index "
        "beside the manifest or the store is there, as after any earlier command; what making it costs is noted below.",
        metrics=(WALL, RUN, CPU, PEAK, FIRST, MEDIAN, MOST, REQUESTS),
        plotted=("wall",),
    )
    place = bed.s3()
    with bed.directory() as directory:
        here = {
            "store": str(directory / "none"),
            "cache_dir": str(directory / "node"),
            "datastore_root": str(directory),
        }
        there = {
            **settings_for(place, root=place.root.replace("{run}", "catalog")),
            "datastore_root": str(directory / "no"),
        }
        there["cache_dir"] = str(directory / "other-node")
        filled = bed.run_once("fill-manifest", settings=here, count=count, size=size)
        bed.run_once("fill-store", place, settings=there, count=count, size=size)
        made = bed.run_once("list", settings=here, remote=False)
        read = bed.run_once("list", place, settings=there, remote=True)
        series = bed.measure(
            [
                Contender("env ls --local", lambda _run: _command(directory), _environment(directory)),
                Contender("look up by name", worker("look-up", settings=here, count=count)),
                Contender("list an S3 store", worker("list", settings=there, remote=True), place.environment),
            ]
        )
    result.groups.append(Group(f"manifest of {filled['manifest_bytes'] / 1e6:.0f} MB", series, compared=False))
    listed, looked, remote = series
    result.targets = [
        Target("`env ls`, process and all", 1.0, listed.median("wall"), False, "s", "start-up included"),
        Target("slowest lookup by name", 50.0, looked.median("most") * 1e3, False, "ms", "of 200 in a fresh process"),
        Target("list of the store, without start-up", 1.0, remote.median("run_wall"), False, "s"),
    ]
    result.notes += [
        f"Making the index of the manifest, once after each change of it: {made['run_wall']:.2f} s.",
        f"Reading all documents for the first time: {read['run_wall']:.2f} s, {read['store_requests']:.0f} requests.",
    ]
    return result


def _command(directory: Path) -> list[str]:
    program = [sys.executable, "-c", "from asynccache_cli.main import main; main()", "env", "ls", "--local"]
    return [*program, "--store", str(directory / "none"), "--cache-dir", str(directory / "node")]


def _environment(directory: Path) -> dict[str, str]:
    return {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(directory)}
