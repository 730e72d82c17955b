"""Peak memory by package size and by packages in flight, and how long the event loop is ever busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.bed import Bed, Place
from bench.cache_cases import RUN, settings_for
from bench.harness import Contender, Series, worker
from bench.inputs import Archive, of_format
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Limit, Metric, Target

MEGABYTE = 1e6
SIZES: Mapping[str, str] = {"16 MiB": "sized-16", "256 MiB": "sized-256", "1 GiB": "sized-1024"}
LAG = tuple(
    Metric(key, label, "ms")
    for key, label in (("lag_median", "lag, median"), ("lag_99", "lag, 99th percentile"), ("lag_most", "lag, longest"))
)
_DIRECTIONS = ((".tar.bz2", ".conda"), (".conda", ".tar.bz2"))


def _sets(bed: Bed) -> dict[str, Sequence[Archive]]:
    sizes = {"2 MiB": "sized-quick"} if bed.quick else SIZES
    return {label: bed.inputs(name) for label, name in sizes.items()}


def _peak_target(what: str, series: Sequence[Series], wanted: float) -> Target:
    highest = max(series, key=lambda s: max(s.values("peak")))
    return Target(what, wanted, max(highest.values("peak")) / MEGABYTE, False, "MB", f"highest: {highest.name}")


def of_transmuting(bed: Bed) -> CaseResult:
    """Peak memory of a process that transmutes one package."""
    result = CaseResult(
        "memory-transmute",
        "Memory by package size: transmuting",
        "Peak resident memory of a process and its children together (sampled every 30 ms; pages that they share count "
        "for each) that transmutes one package, verified, on two threads. The sizes are those of the unpacked package. "
        "cph is shown up to 256 MiB.",
        metrics=(PEAK, CPU, WALL),
        plotted=("peak",),
    )
    for source, to in _DIRECTIONS:
        contenders = []
        for label, archives in _sets(bed).items():
            common = {"files": [str(of_format(archives, source)[0].path)], "out": "{scratch}", "to": to}
            contenders.append(Contender(f"asynccache, {label}", worker("ours", threads=2, **common)))
            if label != "1 GiB":
                contenders.append(Contender(f"cph, {label}", worker("cph", **common)))
        series = bed.measure(contenders, rounds=1, together=True)
        limit = Limit("peak", 300 * MEGABYTE, "300 MB")
        result.groups.append(Group(f"{source} to {to}", series, (limit,), compared=False))
        ours = [s for s in series if s.name.startswith("asynccache")]
        result.targets.append(_peak_target(f"{source} to {to}, any size", ours, 300))
    return result


def of_the_engine(bed: Bed) -> CaseResult:
    """Peak memory of the whole engine with one package."""
    result = CaseResult(
        "memory-engine",
        "Memory by package size: the whole engine",
        "Peak resident memory of a process and its children together that fetches one package from a server, verifies, "
        "transmutes and publishes "
        "it, into a local store and into an S3 server.",
        metrics=(PEAK, RUN, CPU),
        plotted=("peak",),
    )
    for where, place in (("a local store", Place("{scratch}/store")), ("an S3 server", bed.s3())):
        series: list[Series] = []
        for label, archives in _sets(bed).items():
            with bed.directory() as directory, bed.channel(archives) as channel:
                contenders = []
                for source, to in _DIRECTIONS:
                    entry = of_format(archives, source)[0].address(channel.url)
                    packages = bed.write_list([entry], directory, f"to{to}.json")
                    command = worker("cache", packages=packages, settings=settings_for(place), to=to)
                    contenders.append(Contender(f"{label} to {to}", command, place.environment))
                series += bed.measure(contenders, rounds=1, together=True)
        limit = Limit("peak", 300 * MEGABYTE, "300 MB")
        result.groups.append(Group(f"into {where}", series, (limit,), compared=False))
        result.targets.append(_peak_target(f"into {where}, any size", series, 300))
    return result


def in_flight(bed: Bed) -> CaseResult:
    """Peak memory with many packages in flight."""
    archives = bed.inputs("flight")
    result = CaseResult(
        "memory-in-flight",
        "Memory with 64 packages in flight",
        f"{len(archives)} packages of {archives[0].unpacked / 2**20:g} MiB unpacked each, half of them to be "
        "transmuted, with the default settings: 64 packages in flight.",
        metrics=(PEAK, Metric("in_flight", "packages in flight, most", ""), RUN, CPU),
        plotted=("peak",),
    )
    with bed.directory() as directory, bed.channel(archives) as channel:
        packages = bed.write_list([a.address(channel.url) for a in archives], directory)
        contenders = []
        for where, place in (("a local store", Place("{scratch}/store")), ("an S3 server", bed.s3())):
            command = worker("cache", packages=packages, settings=settings_for(place))
            contenders.append(Contender(f"into {where}", command, place.environment))
        series = bed.measure(contenders, rounds=min(2, bed.rounds), together=True)
    limit = Limit("peak", 400 * MEGABYTE, "400 MB")
    result.groups.append(Group(f"{len(archives)} packages", series, (limit,), compared=False))
    result.targets.append(_peak_target("64 packages in flight", series, 400))
    return result


def loop_lag(bed: Bed) -> CaseResult:
    """How long the event loop keeps a coroutine waiting that only wants to sleep five milliseconds."""
    result = CaseResult(
        "lag",
        "How long the event loop is busy",
        "A coroutine in the engine's process sleeps 5 ms again and again while packages are fetched, verified, "
        "transmuted and published; what it oversleeps is the lag. Whatever else runs on the machine adds to it.",
        metrics=(*LAG, RUN, CPU),
        plotted=("lag_99",),
    )
    names = ("channel",) if bed.quick else ("channel", "real")
    for name in names:
        archives = bed.inputs(name) if name == "channel" else of_format(bed.inputs(name), ".tar.bz2")
        with bed.directory() as directory, bed.channel(archives) as channel:
            packages = bed.write_list([a.address(channel.url) for a in archives], directory)
            contenders = [
                Contender(
                    label,
                    worker("cache", packages=packages, settings=settings_for(Place("{scratch}/store")), loop=loop),
                )
                for label, loop in (("uvloop", "uvloop"), ("asyncio's own loop", "asyncio"))
            ]
            series = bed.measure(contenders)
        what = f"{len(archives)} {'real' if name == 'real' else 'synthetic'} packages"
        limit = Limit("lag_99", 0.05, "50 ms")
        result.groups.append(Group(what, series, (limit,), compared=False))
        for one in series:
            lag, spread = one.median("lag_99") * 1e3, [v * 1e3 for v in one.values("lag_99")]
            detail = f"rounds {min(spread):.1f}-{max(spread):.1f}"
            text = f"lag at the 99th percentile, {one.name}, {what}"
            result.targets.append(Target(text, 50, lag, False, "ms", detail))
    return result
