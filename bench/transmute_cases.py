"""Transmuting against other tools, one package at a time and several at once, and the machine's limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import limits
from bench.bed import Bed
from bench.harness import Contender, worker
from bench.inputs import Archive, of_format
from bench.results import CPU, PEAK, START, WALL, WORK_WALL, CaseResult, Group, Metric, ratio_target

OURS = "asynccache, verified"
OURS_TWO = "asynccache, verified, 2 threads"
CPH = "cph, verified"
STREAMING = "conda-package-streaming, unverified"
MICROMAMBA = "micromamba, unverified"


def _contenders(archives: Sequence[Archive], to: str, *, two: bool = False) -> list[Contender]:
    files = [str(archive.path) for archive in archives]
    common = {"files": files, "out": "{scratch}", "to": to}
    contenders = [
        Contender(OURS, worker("ours", **common)),
        Contender(CPH, worker("cph", **common)),
        Contender(STREAMING, worker("streaming", **common)),
    ]
    if two:
        contenders.insert(1, Contender(OURS_TWO, worker("ours", threads=2, **common)))
    program = shutil.which("micromamba")
    if program and len(files) == 1:
        contenders.append(Contender(MICROMAMBA, _micromamba(program, files[0])))
    return contenders


def _micromamba(program: str, file: str) -> Callable[[Path], list[str]]:
    def command(directory: Path) -> list[str]:
        copy = shutil.copy(file, directory)  # it writes beside its source
        return [program, "package", "transmute", str(copy), "--compression-level", "3"]

    return command


def _label(archives: Sequence[Archive]) -> str:
    several = len(archives) > 1
    what = f"{len(archives)} synthetic packages" if several else archives[0].path.name.rsplit("-", 2)[0]
    unpacked, packed = sum(a.unpacked for a in archives), sum(a.size for a in archives)
    return f"{what}: {unpacked / 1e6:.0f} MB unpacked, {packed / 1e6:.1f} MB packed"


def _sets(bed: Bed, ending: str) -> list[list[Archive]]:
    """Each real package by itself, and the synthetic ones together."""
    real = [] if bed.quick else [[archive] for archive in of_format(bed.inputs("real"), ending)]
    return [*real, of_format(bed.inputs("mix"), ending)]


def to_conda(bed: Bed) -> CaseResult:
    """CPU seconds of .tar.bz2 -> .conda."""
    result = CaseResult(
        "transmute-to-conda",
        ".tar.bz2 to .conda, zstd level 3",
        "Each tool converts the same archive in a fresh process. asynccache compares every member of source and result "
        "(name, type, mode, link, size, digest) while it writes; cph reads both archives again afterwards to do so; "
        "conda-package-streaming does not verify. CPU seconds are those of the whole process, the interpreter's start "
        "and the imports included; how much those were is shown beside.",
    )
    for archives in _sets(bed, ".tar.bz2"):
        group = Group(_label(archives), bed.measure(_contenders(archives, ".conda")))
        result.groups.append(group)
        what = group.label.partition(":")[0]
        result.targets.append(ratio_target(group, CPH, CPU, 2.5, f"fewer CPU seconds than cph, {what}"))
        result.targets.append(
            ratio_target(group, STREAMING, CPU, 1.4, f"fewer CPU seconds than conda-package-streaming, {what}")
        )
    if not shutil.which("micromamba"):
        result.notes.append("micromamba was not found on this machine and could not be measured.")
    return result


def to_tar_bz2(bed: Bed) -> CaseResult:
    """Wall time of .conda -> .tar.bz2."""
    result = CaseResult(
        "transmute-to-tar-bz2",
        ".conda to .tar.bz2",
        "bzip2 compresses slowly, but its blocks of 900 kB are independent, so asynccache compresses them on as many "
        "threads as it is given; the result is an ordinary .tar.bz2. The others use one thread.",
        metrics=(WALL, CPU, START, PEAK),
        plotted=("wall",),
    )
    for archives in _sets(bed, ".conda"):
        contenders = _contenders(archives, ".tar.bz2", two=True)
        series = bed.measure([contenders[1], contenders[0], *contenders[2:]])
        group = Group(_label(archives), series)
        result.groups.append(group)
        what = group.label.partition(":")[0]
        result.targets.append(ratio_target(group, CPH, WALL, 1.8, f"less wall time than cph on 2 cores, {what}"))
    return result


def scaling(bed: Bed) -> CaseResult:
    """Several packages on one core and on two."""
    result = CaseResult(
        "transmute-scaling",
        "Several packages at once, on one core and on two",
        "What `asynccache transmute FILE...` does, the process confined to one core or to two. Wall time without the "
        "interpreter's start is compared, since starting does not get faster with more cores.",
        metrics=(WORK_WALL, WALL, CPU, PEAK),
        plotted=("work_wall",),
    )
    real = [] if bed.quick else of_format(bed.inputs("real"), ".tar.bz2")
    archives = [*real, *of_format(bed.inputs("mix"), ".tar.bz2")]
    common = {"files": [str(a.path) for a in archives], "out": "{scratch}", "to": ".conda"}
    contenders = [Contender(f"{n} core{'s'[: n - 1]}", worker("ours-side-by-side", cores=n, **common)) for n in (2, 1)]
    unpacked = sum(a.unpacked for a in archives)
    group = Group(f"{len(archives)} packages, {unpacked / 1e6:.0f} MB unpacked", bed.measure(contenders))
    result.groups.append(group)
    result.targets.append(ratio_target(group, "1 core", WORK_WALL, 1.8, "faster on 2 cores than on one"))
    rates = [f"{unpacked / s.median('work_wall') / 1e6:.0f} MB/s with {s.name}" for s in group.series]
    result.notes.append(f"Unpacked bytes a second: {', '.join(rates)}. This machine has {os.cpu_count()} cores.")
    return result


def machine_limits(bed: Bed) -> CaseResult:
    """How fast the codecs and digests are that everything else is made of."""
    result = CaseResult(
        "limits",
        "What the machine can do",
        "Digests and codecs on the unpacked bytes of a real package, in memory, on one core unless said. Nothing that "
        "reads or writes packages can be faster than the codec it needs.",
        metrics=tuple(Metric(key, label, "MB/s") for key, label in limits.SPEEDS.items()),
        plotted=(),
    )
    archive = max(of_format(bed.inputs("mix" if bed.quick else "real"), ".tar.bz2"), key=lambda a: a.size)
    size = (2 if bed.quick else 32) << 20
    series = bed.measure([Contender("one core", worker("limits", sample=str(archive.path), size=size))])[0]
    result.groups.append(Group(f"{size >> 20} MiB of {archive.path.name}", [series], compared=False))
    return result


def start(bed: Bed) -> CaseResult:
    """What starting costs before any work."""
    result = CaseResult(
        "start",
        "Starting",
        "Every contender runs in a process of its own; this is what each start costs without any work.",
        metrics=(CPU, WALL, PEAK),
    )
    with bed.directory() as directory:
        listed = bed.write_list([], directory)
        settings = {"store": "{scratch}/store", "cache_dir": "{scratch}/node"}
        contenders = [
            Contender("interpreter", worker("nothing")),
            Contender("transmuting with asynccache", worker("ours", files=[], out="{scratch}", to=".conda")),
            Contender("transmuting with cph", worker("cph", files=[], out="{scratch}", to=".conda")),
            Contender(
                "transmuting with conda-package-streaming", worker("streaming", files=[], out="{scratch}", to=".conda")
            ),
            Contender("the engine, local store", worker("transmute-only", packages=listed, settings=settings)),
        ]
        result.groups.append(Group("no work", bed.measure(contenders), compared=False))
    return result
