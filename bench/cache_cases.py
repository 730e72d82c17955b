"""Whole runs of the engine: against their slowest stage alone, and on a store that has everything already."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.bed import LOCAL, Bed, Place, cpu_meter, engine, write_list
from bench.case import case
from bench.harness import Contender, Series, asynccache
from bench.input_files import MIB
from bench.inputs import Archive
from bench.results import CPU, PEAK, REQUESTS, RUN, WALL, CaseResult, Limit, Metric

_OVERLAP: Final = 1.2  # times the slowest stage
_OVERLAPPING: Final = (RUN, WALL, CPU, Metric("servers_cpu", "CPU seconds of the servers", "s"), PEAK)
_STAGES: Final = {"fetched only": "fetch_only", "transmuted only": "transmute_only", "uploaded only": "upload_only"}


@case("cache-local", "60 packages into a local store", metrics=_OVERLAPPING, plotted=("run_wall",))
def into_local(bed: Bed, found: CaseResult) -> None:
    """60 packages into a local store, against the slowest stage alone.

    Sixty packages, half of them .tar.bz2, from a server 20 ms away (a process of its own on loopback) into the store,
    all to .conda. Beside the whole run, each stage runs alone with the same budgets: fetching and verifying everything,
    transmuting everything, uploading everything. A run that overlaps its stages perfectly takes as long as the slowest
    of them.
    """
    _overlap(bed, found, LOCAL)


@case("cache-s3", "60 packages into an S3 server", metrics=_OVERLAPPING, plotted=("run_wall",))
def into_s3(bed: Bed, found: CaseResult) -> None:
    """60 packages into an S3 server, against the slowest stage alone.

    As cache-local, into an S3 server (SeaweedFS on loopback, its data in memory).
    """
    _overlap(bed, found, bed.s3())


@case("cache-slow-source", "60 packages from a slow source", metrics=_OVERLAPPING, plotted=("run_wall",))
def from_slow_source(bed: Bed, found: CaseResult) -> None:
    """60 packages with fetching as the slowest stage.

    As cache-s3; here the server of the packages sends 8 MiB a second in all (1 MiB on a quick run), so that fetching is
    the slowest stage.
    """
    _overlap(bed, found, bed.s3(), "--bandwidth", str((1 if bed.quick else 8) * MIB))


def _overlap(bed: Bed, found: CaseResult, place: Place, *options: str) -> None:
    """Measure a whole run and each of its stages alone, in turn."""
    archives, old = bed.inputs("channel"), bed.inputs("channel", ".tar.bz2")
    with bed.directory() as directory, bed.channel(archives, *options) as (url, pid):
        bed.run_once("tools.ours", files=[str(a.path) for a in old], out=str(directory), to=".conda", verify=False)
        entries = [{**a.address(url), "path": str(a.path)} for a in archives]
        final = [_transmuted(a, directory, url) if a in old else e for a, e in zip(archives, entries, strict=True)]
        published = write_list(entries, directory, "published.json")
        lists = {"upload_only": write_list(final, directory, "final.json")}
        series = bed.measure(
            engine("whole run", place, published),
            *(engine(name, place, lists.get(task, published), task) for name, task in _STAGES.items()),
            meter=cpu_meter(pid, *([place.pid] if place.pid else [])),
        )
    whole, *stages = series
    slowest = max(stages, key=lambda s: s.median("run_wall"))
    found.group(
        f"{len(archives)} packages, {sum(a.size for a in archives) / 1e6:.0f} MB, of which "
        f"{sum(a.unpacked for a in old) / 1e6:.0f} MB unpacked to transmute",
        series,
        Limit("run_wall", _OVERLAP * slowest.median("run_wall"), f"{_OVERLAP} x the slowest stage"),
        compared=False,
    )
    shares = [run / max(alone) for run, *alone in zip(*(s.values("run_wall") for s in series), strict=True)]
    what = "overlap: wall time of the whole run by that of its slowest stage alone"
    detail = f"slowest: {slowest.name}; rounds {min(shares):.2f}-{max(shares):.2f}"
    found.at_most(what, _OVERLAP, statistics.median(shares), "x", detail)
    _note_floor(found, whole, stages)


def _note_floor(found: CaseResult, whole: Series, stages: Sequence[Series]) -> None:
    cores, wall, servers = os.cpu_count() or 1, whole.median("run_wall"), whole.median("servers_cpu")
    # decoders run in processes of their own, which only the whole's CPU time has; start-up is one thread's
    used = whole.median("cpu") - (whole.median("wall") - wall)
    alone = sum(s.median("run_wall") for s in stages)
    found.notes.append(
        f"The three stages one after the other would take {alone:.2f} s, the whole run takes {wall:.2f} s."
    )
    found.notes.append(
        f"Client and servers share {cores} cores: the run and its servers together use {used:.2f} + {servers:.2f} CPU "
        f"seconds, so that no order of the work could take less than {(used + servers) / cores:.2f} s here."
    )


def _transmuted(archive: Archive, directory: Path, base: str) -> Mapping[str, object]:
    """Return what a worker needs of the .conda that a .tar.bz2 became."""
    published = archive.address(base)
    path = directory / (archive.path.name.removesuffix(".tar.bz2") + ".conda")
    url = str(published["url"]).removesuffix(".tar.bz2") + ".conda"
    return {**Archive.of(path, archive.unpacked).address(base), "url": url, "path": str(path)}


@case("no-op", "A run with nothing to do", metrics=(WALL, RUN, CPU, REQUESTS, PEAK), plotted=("wall",))
def no_op(bed: Bed, found: CaseResult) -> None:
    """A run over 300 packages that are all there.

    300 packages are in an S3 store already, in .conda format, and are asked for again: by the command `asynccache
    cache`, and by the engine in a process that reports its own figures. The second group has nine other packages in the
    store for each one asked for, in the same directories of the channel.
    """
    archives, place = bed.inputs("many"), bed.s3().named("no-op")
    with bed.directory() as directory, bed.channel(archives) as (url, _pid):
        entries = [a.address(url) for a in archives]
        node, listed = str(directory / "node"), directory / "packages.txt"
        listed.write_text("".join(f"{e['url']}#{e['md5']}\n" for e in entries), encoding="utf-8")
        packages, settings = write_list(entries, directory), place.settings(cache_dir=node)
        bed.run_once("engine_tasks.cache", place, packages=packages, settings=settings)
        words = ("cache", "--from", str(listed), "--format", ".conda", "--store", place.root, "--cache-dir", node)
        address = ("--s3-endpoint-url", str(place.endpoint))
        contenders = [
            Contender("the command", asynccache(*words, *address, "--quiet"), place.environment),
            engine("the engine", place, packages, settings=settings),
        ]
        for label in ("only these packages in the store", "ten times as many packages in the store"):
            series = bed.measure(*contenders)
            found.group(f"{len(archives)} packages; {label}", series, compared=False)
            wall, run = series[0].median("wall"), series[1]
            found.at_most(f"the run itself, {label}", 1.0, run.median("run_wall"), "s", "wall, without start-up")
            found.at_most(f"the command, {label}", 1.0, wall, "s", "wall, start-up included")
            requests = run.median("store_requests")
            found.at_most(f"requests, {label}", len(archives) / 10, requests, "", "1 for 10 packages")
            if len(found.groups) == 1:
                copies = 1 if bed.quick else 9
                bed.run_once("engine_tasks.put_filler", place, packages=packages, settings=settings, copies=copies)
