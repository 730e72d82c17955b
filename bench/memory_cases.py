"""Peak memory by package size and by packages in flight, and how long the event loop is ever busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.bed import LOCAL, Bed, engine
from bench.case import case
from bench.harness import Contender, Series, worker
from bench.results import CPU, PEAK, RUN, WALL, CaseResult, Limit, Metric

_SIZES: Mapping[str, str] = {"16 MiB": "sized-16", "256 MiB": "sized-256", "1 GiB": "sized-1024"}
_DIRECTIONS = ((".tar.bz2", ".conda"), (".conda", ".tar.bz2"))
_LAG = tuple(
    Metric(key, label, "ms")
    for key, label in (("lag_median", "lag, median"), ("lag_99", "lag, 99th percentile"), ("lag_most", "lag, longest"))
)


@case("memory-transmute", "Memory by package size: transmuting", metrics=(PEAK, CPU, WALL), plotted=("peak",))
def of_transmuting(bed: Bed, found: CaseResult) -> None:
    """Peak memory of transmuting by package size.

    Peak resident memory of a process and its children together (sampled every 30 ms; pages that they share count for
    each) that transmutes one package, verified, on two threads. The sizes are those of the unpacked package. cph is
    shown up to 256 MiB.
    """
    for source, to in _DIRECTIONS:
        contenders = []
        for label, name in _sizes(bed).items():
            common = {"files": [str(a.path) for a in bed.inputs(name, source)], "out": "{scratch}", "to": to}
            contenders.append(Contender(f"asynccache, {label}", worker("tools.ours", threads=2, **common)))
            if label != "1 GiB":
                contenders.append(Contender(f"cph, {label}", worker("tools.cph", **common)))
        series = bed.measure(*contenders, rounds=1, together=True)
        _below(found, 300, f"{source} to {to}", series, f"{source} to {to}, any size")


@case("memory-engine", "Memory by package size: the whole engine", metrics=(PEAK, RUN, CPU), plotted=("peak",))
def of_the_engine(bed: Bed, found: CaseResult) -> None:
    """Peak memory of the whole engine by package size.

    Peak resident memory of a process and its children together that fetches one package from a server, verifies,
    transmutes and publishes it, into a local store and into an S3 server.
    """
    for where, place in (("into a local store", LOCAL), ("into an S3 server", bed.s3())):
        series: list[Series] = []
        for label, name in _sizes(bed).items():
            for source, to in _DIRECTIONS:
                with bed.listed(bed.inputs(name, source)) as packages:
                    one = engine(f"{label} to {to}", place, packages, to=to)
                    series += bed.measure(one, rounds=1, together=True)
        _below(found, 300, where, series, f"{where}, any size")


@case(
    "memory-in-flight",
    "Memory with 64 packages in flight",
    metrics=(PEAK, Metric("in_flight", "packages in flight, most", ""), RUN, CPU),
    plotted=("peak",),
)
def in_flight(bed: Bed, found: CaseResult) -> None:
    """Peak memory with 64 packages in flight.

    Packages of one size, half of them to be transmuted, with the default settings: 64 packages in flight.
    """
    archives = bed.inputs("flight")
    with bed.listed(archives) as packages:
        series = bed.measure(
            engine("into a local store", LOCAL, packages),
            engine("into an S3 server", bed.s3(), packages),
            rounds=min(2, bed.rounds),
            together=True,
        )
    label = f"{len(archives)} packages of {archives[0].unpacked / 2**20:g} MiB unpacked each"
    _below(found, 400, label, series, "64 packages in flight")


@case("lag", "How long the event loop is busy", metrics=(*_LAG, RUN, CPU), plotted=("lag_99",))
def loop_lag(bed: Bed, found: CaseResult) -> None:
    """How long the event loop is busy while transmuting.

    A coroutine in the engine's process sleeps 5 ms again and again while packages are fetched, verified, transmuted and
    published; what it oversleeps is the lag. Whatever else runs on the machine adds to it.
    """
    sets = {"synthetic": bed.inputs("channel")} | ({} if bed.quick else {"real": bed.inputs("real", ".tar.bz2")})
    for kind, archives in sets.items():
        with bed.listed(archives) as packages:
            series = bed.measure(
                engine("uvloop", LOCAL, packages), engine("asyncio's own loop", LOCAL, packages, loop="asyncio")
            )
        what = f"{len(archives)} {kind} packages"
        found.group(what, series, Limit("lag_99", 0.05, "50 ms"), compared=False)
        for one in series:
            lags = [value * 1e3 for value in one.values("lag_99")]
            text = f"lag at the 99th percentile, {one.name}, {what}"
            found.at_most(text, 50, one.median("lag_99") * 1e3, "ms", f"rounds {min(lags):.1f}-{max(lags):.1f}")


def _sizes(bed: Bed) -> Mapping[str, str]:
    return {"2 MiB": "sized-quick"} if bed.quick else _SIZES


def _below(found: CaseResult, megabytes: int, label: str, series: Sequence[Series], what: str) -> None:
    """Add a group of which what is ours shall stay below a limit."""
    found.group(label, series, Limit("peak", megabytes * 1e6, f"{megabytes} MB"), compared=False)
    ours = [one for one in series if not one.name.startswith("cph")]
    highest = max(ours, key=lambda one: max(one.values("peak")))
    peak = max(highest.values("peak")) / 1e6
    found.at_most(what, megabytes, peak, "MB", f"highest: {highest.name}")
