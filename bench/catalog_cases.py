"""Many environments: warmed together, listed, looked up."""

from __future__ import annotations

from bench.bed import Bed, Place
from bench.case import case
from bench.harness import Contender, asynccache
from bench.results import CPU, FETCHED, PEAK, REQUESTS, RUN, WALL, CaseResult, Metric

_LOOKUPS = (
    Metric("first", "first lookup", "ms"),
    Metric("median", "lookup, median", "ms"),
    Metric("most", "lookup, slowest", "ms"),
)


@case(
    "warm",
    "Environments that share most of their packages",
    metrics=(RUN, WALL, CPU, PEAK, FETCHED, REQUESTS),
    plotted=("run_wall",),
)
def warm(bed: Bed, found: CaseResult) -> None:
    """10 environments of 100 packages that share 80, together.

    The environments are warmed together into an empty S3 store (SeaweedFS on loopback), and once more when everything
    is there. Bytes that are fetched are counted against the sizes of the distinct packages.
    """
    count, size, shared = (3, 10, 8) if bed.quick else (10, 100, 80)
    archives = bed.inputs("many")[: shared + count * (size - shared)]
    distinct = sum(a.size for a in archives)
    place = bed.s3()
    with bed.directory() as directory, bed.listed(archives) as packages:
        work = {"packages": packages, "count": count, "size": size, "shared": shared}
        cold = place.settings(datastore_root="{scratch}/here")
        ready = place.named("warm").settings(cache_dir=str(directory / "node"), datastore_root=str(directory))
        bed.run_once("catalog_tasks.warm", place, settings=ready, **work)
        first, second = series = bed.measure(
            place.contender("empty store", "catalog_tasks.warm", settings=cold, **work),
            place.contender("second time", "catalog_tasks.warm", settings=ready, **work),
        )
    label = f"{count} environments of {size} packages, {len(archives)} of them distinct"
    found.group(label, series, compared=False)
    fetched = first.median("fetched")
    found.at_most("bytes fetched by the bytes of the distinct packages", 1.0, fetched / distinct, "x")
    found.at_most("a second warm, process and all", 1.0, second.median("wall"), "s", "start-up included")
    found.notes.append(
        f"Distinct packages: {distinct} bytes; fetched: {fetched:.0f} bytes, the second time "
        f"{second.median('fetched'):.0f}."
    )


@case(
    "catalog",
    "A catalog of many environments",
    metrics=(WALL, RUN, CPU, PEAK, *_LOOKUPS, REQUESTS),
    plotted=("wall",),
)
def catalog(bed: Bed, found: CaseResult) -> None:
    """A list and lookups among 5,000 environments.

    `asynccache env ls --local` on a manifest with that many environments, and lookups by name in a fresh process; the
    same list from an S3 store (SeaweedFS on loopback) whose documents were read before. The index beside the manifest
    or the store is there, as after any earlier command; what making it costs is noted below.
    """
    count, size = (200, 5) if bed.quick else (5000, 50)
    with bed.directory() as directory:
        node, none = str(directory / "node"), str(directory / "none")
        here, there = Place(none), bed.s3().named("catalog")
        local = {"settings": here.settings(cache_dir=node, datastore_root=str(directory))}
        remote = {
            "settings": there.settings(cache_dir=str(directory / "other-node"), datastore_root=str(directory / "no"))
        }
        filled = bed.run_once("catalog_tasks.fill_manifest", here, **local, count=count, size=size)
        bed.run_once("catalog_tasks.fill_store", there, **remote, count=count, size=size)
        made = bed.run_once("catalog_tasks.list_all", here, **local, remote=False)
        read = bed.run_once("catalog_tasks.list_all", there, **remote, remote=True)
        words = ("env", "ls", "--local", "--store", none, "--cache-dir", node)
        variables = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(directory)}
        listed, looked, stored = series = bed.measure(
            Contender("env ls --local", asynccache(*words), variables),
            here.contender("look up by name", "catalog_tasks.look_up", **local, count=count),
            there.contender("list an S3 store", "catalog_tasks.list_all", **remote, remote=True),
        )
    megabytes = filled["manifest_bytes"] / 1e6
    label = f"{count} environments of {size} packages, manifest of {megabytes:.0f} MB"
    found.group(label, series, compared=False)
    found.at_most("`env ls`, process and all", 1.0, listed.median("wall"), "s", "start-up included")
    slowest = looked.median("most") * 1e3
    found.at_most("slowest lookup by name", 50.0, slowest, "ms", "of 200 in a fresh process")
    found.at_most("list of the store, without start-up", 1.0, stored.median("run_wall"), "s")
    found.notes += [
        f"Making the index of the manifest, once after each change of it: {made['run_wall']:.2f} s.",
        f"Reading all documents for the first time: {read['run_wall']:.2f} s, {read['store_requests']:.0f} requests.",
    ]
