"""Transmuting against other tools, one package at a time and several at once, and the machine's limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from bench.bed import LOCAL, Bed, engine, write_list
from bench.case import case
from bench.harness import Contender, worker
from bench.inputs import Archive
from bench.limits import SPEEDS
from bench.peers import peer
from bench.results import CPU, PEAK, START, WALL, WORK_WALL, CaseResult, Metric

_CPH = "cph, verified"
_STREAMING = "conda-package-streaming, unverified"


def _tool(name: str, task: str, archives: Sequence[Archive], to: str, **arguments: object) -> Contender:
    files = [str(archive.path) for archive in archives]
    return Contender(name, worker(f"tools.{task}", files=files, out="{scratch}", to=to, **arguments))


@case(
    "limits",
    "What the machine can do",
    metrics=tuple(Metric(key, label, "MB/s") for key, label in SPEEDS.items()),
    plotted=(),
)
def machine_limits(bed: Bed, found: CaseResult) -> None:
    """How fast this machine's codecs and digests are.

    Digests and codecs on the unpacked bytes of a real package, in memory, on one core unless said. Nothing that reads
    or writes packages can be faster than the codec it needs.
    """
    archive = max(bed.inputs("mix" if bed.quick else "real", ".tar.bz2"), key=lambda a: a.size)
    size = (2 if bed.quick else 32) << 20
    series = bed.measure(Contender("one core", worker("limits.limits", sample=str(archive.path), size=size)))
    found.group(f"{size >> 20} MiB of {archive.path.name}", series, compared=False)


@case("start", "Starting", metrics=(CPU, WALL, PEAK))
def start(bed: Bed, found: CaseResult) -> None:
    """What starting costs before any work.

    Every contender runs in a process of its own; this is what each start costs without any work.
    """
    with bed.directory() as directory:
        series = bed.measure(
            Contender("interpreter", worker("tools.nothing")),
            _tool("transmuting with asynccache", "ours", [], ".conda"),
            _tool("transmuting with cph", "cph", [], ".conda"),
            _tool("transmuting with conda-package-streaming", "streaming", [], ".conda"),
            engine("the engine, local store", LOCAL, write_list([], directory), "transmute_only"),
        )
    found.group("no work", series, compared=False)


def _others(archives: Sequence[Archive], to: str) -> list[Contender]:
    others = [_tool(_CPH, "cph", archives, to), _tool(_STREAMING, "streaming", archives, to)]
    program = peer("micromamba")
    if program and len(archives) == 1:
        path = archives[0].path  # it writes beside its source
        words = [program, "package", "transmute", f"{{scratch}}/{path.name}", "--compression-level", "3"]
        others.append(Contender("micromamba, unverified", words, prepare=lambda run: shutil.copy(path, run)))
    return others


def _sets(bed: Bed, ending: str) -> dict[str, list[Archive]]:
    """Return each real package by itself, and the synthetic ones together, by what they are called."""
    real = [] if bed.quick else bed.inputs("real", ending)
    several = bed.inputs("mix", ending)
    return {a.path.name.rsplit("-", 2)[0]: [a] for a in real} | {f"{len(several)} synthetic packages": several}


def _label(what: str, archives: Sequence[Archive]) -> str:
    unpacked, packed = sum(a.unpacked for a in archives), sum(a.size for a in archives)
    return f"{what}: {unpacked / 1e6:.0f} MB unpacked, {packed / 1e6:.1f} MB packed"


@case("transmute-to-conda", ".tar.bz2 to .conda, zstd level 3")
def to_conda(bed: Bed, found: CaseResult) -> None:
    """.tar.bz2 to .conda against other tools, CPU seconds.

    Each tool converts the same archive in a fresh process. asynccache compares every member of source and result (name,
    type, mode, link, size, digest) while it writes; cph reads both archives again afterwards to do so;
    conda-package-streaming does not verify. CPU seconds are those of the whole process, the interpreter's start and the
    imports included; how much those were is shown beside.
    """
    for what, archives in _sets(bed, ".tar.bz2").items():
        ours = _tool("asynccache, verified", "ours", archives, ".conda")
        group = found.group(_label(what, archives), bed.measure(ours, *_others(archives, ".conda")))
        found.times_less(group, _CPH, CPU, 2.5, f"fewer CPU seconds than cph, {what}")
        found.times_less(group, _STREAMING, CPU, 1.4, f"fewer CPU seconds than conda-package-streaming, {what}")
        mine, *others = group.series
        found.beside(f".tar.bz2 to .conda, {what}", mine, *others)
    if not peer("micromamba"):
        found.notes.append(
            "micromamba was not found (on PATH, or by ASYNCCACHE_PEER_MICROMAMBA) and could not be measured."
        )


@case("transmute-to-tar-bz2", ".conda to .tar.bz2", metrics=(WALL, CPU, START, PEAK), plotted=("wall",))
def to_tar_bz2(bed: Bed, found: CaseResult) -> None:
    """.conda to .tar.bz2 against other tools, wall seconds.

    bzip2 compresses slowly, but its blocks of 900 kB are independent, so asynccache compresses them on as many threads
    as it is given; the result is an ordinary .tar.bz2. The others use one thread.
    """
    for what, archives in _sets(bed, ".conda").items():
        two = _tool("asynccache, verified, 2 threads", "ours", archives, ".tar.bz2", threads=2)
        one = _tool("asynccache, verified", "ours", archives, ".tar.bz2")
        group = found.group(_label(what, archives), bed.measure(two, one, *_others(archives, ".tar.bz2")))
        found.times_less(group, _CPH, WALL, 1.8, f"less wall time than cph on 2 cores, {what}")
        mine, _one, *others = group.series
        found.beside(f".conda to .tar.bz2 on 2 threads, {what}", mine, *others)


@case(
    "transmute-scaling",
    "Several packages at once, on one core and on two",
    metrics=(WORK_WALL, WALL, CPU, PEAK),
    plotted=("work_wall",),
)
def scaling(bed: Bed, found: CaseResult) -> None:
    """Several packages on one core and on two.

    What `asynccache transmute FILE...` does, the process confined to one core or to two. Wall time without the
    interpreter's start is compared, since starting does not get faster with more cores.
    """
    archives = [archive for several in _sets(bed, ".tar.bz2").values() for archive in several]
    unpacked = sum(a.unpacked for a in archives)
    series = bed.measure(
        _tool("2 cores", "ours_side_by_side", archives, ".conda", cores=2),
        _tool("1 core", "ours_side_by_side", archives, ".conda", cores=1),
    )
    group = found.group(f"{len(archives)} packages, {unpacked / 1e6:.0f} MB unpacked", series)
    found.times_less(group, "1 core", WORK_WALL, 1.8, "faster on 2 cores than on one")
    rates = [f"{unpacked / s.median('work_wall') / 1e6:.0f} MB/s with {s.name}" for s in series]
    found.notes.append(f"Unpacked bytes a second: {', '.join(rates)}. This machine has {os.cpu_count()} cores.")
