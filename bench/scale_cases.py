"""Stores of a million objects: what each of them costs, and what is held of them."""

from __future__ import annotations

from bench.bed import LOCAL, Bed
from bench.case import case
from bench.results import CaseResult, Metric

_FIGURES = (
    Metric("cpu_each", "processor time for 1,000 archives", "ms"),
    Metric("wall_each", "time for 1,000 archives", "ms"),
    Metric("requests_each", "requests for 1,000 archives", ""),
    Metric("peak_own", "peak memory", "MB"),
)
_TASKS = {
    "stat": "count (`stat`)",
    "backfill": "look for work (`backfill --dry-run`)",
    "audit": "`audit` without reading",
    "gc": "what could be collected (`gc --dry-run`), all of it",
    "report": "what is there, who needs it, and what could be collected (`report`)",
}


@case("scale", "Stores of 10,000 to 1,000,000 archives", metrics=_FIGURES, plotted=("cpu_each", "peak_own"))
def scale(bed: Bed, found: CaseResult) -> None:
    """What each archive costs in stores of growing size.

    The store makes its keys, and documents that name all of them, 200 each, when it is asked: making them counts as
    well. So does everything that the tasks hold: nothing is taken off the peak.
    """
    sizes = (1_000, 10_000) if bed.quick else (10_000, 100_000, 1_000_000)
    for task, label in _TASKS.items():
        series = bed.measure(
            *(
                LOCAL.contender(f"{size:,} archives", "scale_tasks.on_a_store", what=task, archives=size)
                for size in sizes
            ),
            rounds=1,
        )
        found.group(label, series, compared=False)
        first, last = series[0], series[-1]
        ratio = last.median("cpu_each") / first.median("cpu_each")
        found.at_most(f"processor time of one of {sizes[-1]:,} by that of one of {sizes[0]:,}, {task}", 1.3, ratio, "x")
        found.at_most(f"memory with {sizes[-1]:,} archives, {task}", 300, last.median("peak_own") / 1e6, "MB")
