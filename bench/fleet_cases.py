"""Fleets that start at once: what their nodes ask of a store, and how long they wait."""

from __future__ import annotations

from bench.bed import LOCAL, Bed
from bench.case import case
from bench.results import CaseResult, Metric

_FIGURES = (
    Metric("requests_each", "requests of a node", ""),
    Metric("requests_most", "requests of the one with most", ""),
    Metric("p50", "seconds until half the tasks have all", "s"),
    Metric("p99", "seconds until 99 % have", "s"),
    Metric("failures", "tasks that gave up", ""),
    Metric("refused", "requests that the store refused", ""),
)
_TASKS = 3_000
_PACKAGES = 100
_NAMES = {
    "pack": "from a pack",
    "packages": "from packages",
    "one by one": "one object per package, no pacing",
}


@case("fleet", "3,000 tasks that start in one second", metrics=_FIGURES, plotted=("p99", "requests_each"))
def fleet(bed: Bed, found: CaseResult) -> None:
    """What a fleet asks of a store that refuses, and how long it waits, in virtual time.

    The store refuses what goes beyond 5,500 reads a second for each prefix, as S3 does. Waits, tries and rates are
    those of the product's code; what is simulated is the store, the network, and what stands beside: 64 processes a
    task that each repeat a request ten times, as Metaflow's S3 client does for the existing extension, whose tasks
    share nothing.
    Environments have 100 packages, 67 of one platform and 33 of none.
    """
    fleet_size = 60 if bed.quick else _TASKS
    for nodes, tasks in ((fleet_size // 60, 60), (fleet_size, 1)):
        series = bed.measure(
            *(
                LOCAL.contender(
                    name,
                    "fleet_tasks.start",
                    way=way,
                    nodes=nodes,
                    tasks=tasks,
                    each=_PACKAGES,
                    scale=fleet_size / _TASKS,
                )
                for way, name in _NAMES.items()
            ),
            rounds=1,
        )
        label = f"{nodes:,} nodes of {tasks} tasks" if tasks > 1 else f"{nodes:,} nodes of one task"
        found.group(label, series, compared=False)
        for one in series[:2]:
            found.at_most(f"tasks that gave up, {label}, {one.name}", 0, one.median("failures"), "")
        packed, packages, other = series
        least = 1.0 + _PACKAGES
        found.at_most(
            f"requests of a node by those it needs, {label}", 2, packages.median("requests_each") / least, "x"
        )
        found.at_most(f"p99 by that without pacing, {label}", 1, packages.median("p99") / other.median("p99"), "x")
        found.at_most(
            f"p99 by that without pacing, {label}, packed", 0.5, packed.median("p99") / other.median("p99"), "x"
        )
