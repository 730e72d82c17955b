"""What remote stores cost the process that uses them, by what S3 costs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.bed import Bed, Place, engine, write_list
from bench.case import case
from bench.harness import Contender, Series, ratio
from bench.hydrate_cases import fill
from bench.results import CPU, PEAK, REQUESTS, RUN, START, CaseResult, Metric

if TYPE_CHECKING:
    from tests.support.services import Kind

_MOST: Final = 1.3  # times the CPU seconds of S3
_WORK: Final = Metric("work_cpu", "CPU seconds without start-up", "s")
_KINDS: Final[dict[Kind, str]] = {"s3": "S3", "azure": "Azure", "gs": "Google Cloud Storage"}


@case("stores", "The stores compared", metrics=(CPU, START, _WORK, RUN, REQUESTS, PEAK), plotted=("work_cpu",))
def stores(bed: Bed, found: CaseResult) -> None:
    """Caching and hydrating with S3, Azure and Google Cloud Storage.

    The CPU seconds of our process alone, as each server is a process of its own: SeaweedFS, Azurite, and
    fake-gcs-server behind a proxy that keeps the conditions it ignores; wall times are theirs more than ours. Cached is
    every third package of cache-s3, from a server 20 ms away. Then these, and the 300 small ones of no-op, are
    uploaded only, so that nothing else hides what the store costs. Hydrated is the environment of hydrate.
    """
    places = {name: bed.remote(kind) for kind, name in _KINDS.items()}
    large, small = bed.inputs("channel")[::3], bed.inputs("many")
    with bed.directory() as directory, bed.channel(large) as (url, _pid):
        works = (("cached", "cache", large), ("uploaded", "upload_only", large), ("uploaded", "upload_only", small))
        for label, task, archives in works:
            entries = [{**archive.address(url), "path": str(archive.path)} for archive in archives]
            packages = write_list(entries, directory)
            series = bed.measure(*(engine(name, place, packages, task) for name, place in places.items()))
            size = sum(archive.size for archive in archives) / 1e6
            _compare(found, f"{len(archives)} packages, {size:.0f} MB, {label}", series)
    with bed.directory() as directory:
        _compare(found, "an environment hydrated", bed.measure(*_hydrating(bed, places, directory)))


def _hydrating(bed: Bed, places: dict[str, Place], directory: Path) -> list[Contender]:
    """Fill every store with the environment; return what hydrates it out of each."""
    contenders = []
    for name, place in places.items():
        out = directory / name.partition(" ")[0]
        out.mkdir()
        filled = place.named("stores")
        fill(bed, filled, out)
        arguments = {"document": str(out / "env.json"), "prefix": "{scratch}/env"}
        contenders.append(filled.contender(name, "hydrate_tasks.hydrate", **arguments))
    return contenders


def _compare(found: CaseResult, label: str, series: list[Series]) -> None:
    found.group(label, series)
    first, *others = series
    for metric, words in ((CPU, "start-up included"), (_WORK, "without start-up")):
        for other in others:
            measured = ratio(other, first, metric.key)
            detail = f"rounds {measured.least:.2f}-{measured.most:.2f}"
            found.at_most(f"CPU of {other.name} by that of S3, {label}, {words}", _MOST, measured.value, "x", detail)
