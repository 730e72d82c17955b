"""What a case found: groups of contenders, targets and whether they were reached, and the whole as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from bench.harness import Ratio, Series, ratio

Unit = Literal["s", "ms", "MB", "MB/s", "x", ""]
_SCALE: Final[dict[str, float]] = {"MB": 1e-6, "MB/s": 1e-6, "ms": 1e3}
_DIGITS: Final[dict[str, int]] = {"s": 2, "ms": 1, "MB": 0, "MB/s": 0, "x": 2, "": 0}


@dataclass(frozen=True, slots=True)
class Metric:
    """Something measured of every contender.

    Attributes:
        key: As in `Sample.value`; in seconds, bytes or bytes a second.
        label: As it is shown.
        unit: What it is shown in.
    """

    key: str
    label: str
    unit: Unit

    def scaled(self, value: float) -> float:
        """Return a value in the shown unit."""
        return value * _SCALE.get(self.unit, 1.0)

    def text(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{self.scaled(value):,.{_DIGITS[self.unit]}f} {self.unit}".rstrip()


CPU: Final = Metric("cpu", "CPU seconds", "s")
START: Final = Metric("start_cpu", "of which start-up", "s")
WALL: Final = Metric("wall", "wall seconds", "s")
WORK_WALL: Final = Metric("work_wall", "wall seconds without start-up", "s")
PEAK: Final = Metric("peak", "peak memory", "MB")
RUN: Final = Metric("run_wall", "wall seconds without start-up", "s")
REQUESTS: Final = Metric("store_requests", "requests to the store", "")
FETCHED: Final = Metric("fetched", "bytes fetched", "MB")


@dataclass(frozen=True, slots=True)
class Limit:
    """A line in a plot.

    Attributes:
        metric: Key of the metric it belongs to.
        value: In the metric's own unit: seconds or bytes.
        label: What it stands for.
    """

    metric: str
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Group:
    """Contenders that did the same work. The first is the one that the others are compared with.

    Attributes:
        label: What the work was.
        series: What each of them needed.
        limits: Lines to draw.
        compared: Whether ratios to the first make sense.
    """

    label: str
    series: Sequence[Series]
    limits: Sequence[Limit] = ()
    compared: bool = True

    def ratios(self, metric: str) -> dict[str, Ratio]:
        """Return how many times more each of the others needs than the first."""
        first = self.series[0]
        if not self.compared or not first.values(metric):
            return {}
        return {
            other.name: ratio(other, first, metric)
            for other in self.series[1:]
            if len(other.values(metric)) == len(first.values(metric)) and first.median(metric) > 0
        }

    def shown(self, metrics: Sequence[Metric]) -> list[Metric]:
        """Return the metrics that any of its contenders has."""
        return [metric for metric in metrics if any(one.values(metric.key) for one in self.series)]

    def cell(self, one: Series, metric: Metric) -> tuple[str, str]:
        """Return what a table shows of a contender: the median, and by how much it differs from that of the first."""
        if not one.values(metric.key):
            return "", ""
        found = self.ratios(metric.key).get(one.name) if metric is not START else None
        times = f"{found.value:.2f}x ({found.least:.2f}-{found.most:.2f})" if found else ""
        return metric.text(one.median(metric.key)), times


@dataclass(frozen=True, slots=True)
class Target:
    """What a case should reach, and what it did.

    Attributes:
        what: What is counted.
        wanted: The bound.
        measured: What was found.
        at_least: Whether more is better.
        unit: Of both.
        detail: Spread or circumstances.
        judged: False on a quick run, which measures nothing worth judging.
    """

    what: str
    wanted: float
    measured: float
    at_least: bool
    unit: Unit
    detail: str = ""
    judged: bool = True

    @property
    def reached(self) -> bool:
        """Whether the bound holds."""
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    @property
    def verdict(self) -> str:
        """`reached`, `missed`, or that it cannot be judged."""
        if not self.judged:
            return "not judged on a quick run"
        return "reached" if self.reached else "missed"

    @property
    def text_wanted(self) -> str:
        """The bound in words."""
        return f"at {'least' if self.at_least else 'most'} {self.wanted:g}{self._unit}"

    @property
    def text_measured(self) -> str:
        """What was found, with its unit and detail."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.measured:,.{2 if self.unit in {'x', 's'} else 1}f}{self._unit}{detail}"

    @property
    def _unit(self) -> str:
        return self.unit if self.unit == "x" else f" {self.unit}".rstrip()

    def __str__(self) -> str:
        return f"{self.what}: target {self.text_wanted}, measured {self.text_measured}"


@dataclass(frozen=True, slots=True)
class Beside:
    """What we need for some work by what another program needs for the same.

    Attributes:
        what: The work.
        peer: The other program, and whether it verifies where we do.
        ratios: By key of a metric; below 1 we need less.
        wanted: Key of a metric -> what the ratio should be at most.
    """

    what: str
    peer: str
    ratios: Mapping[str, Ratio]
    wanted: Mapping[str, float]

    def cell(self, key: str) -> str:
        """Write a ratio with its spread within one round and its bound; bold where we need more."""
        found = self.ratios.get(key)
        if found is None:
            return "-"
        text = f"{found.value:.2f}" if found.value <= 1 else f"**{found.value:.2f}**"
        spread = f" ({found.least:.2f} to {found.most:.2f})" if found.least != found.most else ""
        return text + spread + (f", at most {self.wanted[key]:g}" if key in self.wanted else "")


@dataclass(slots=True)
class CaseResult:
    """One case.

    Attributes:
        name: As given to `--case`.
        title: Heading.
        about: What is measured and how, a paragraph.
        metrics: What the tables and plots show.
        plotted: Keys of those with a plot.
        groups: The measurements.
        targets: What should be reached.
        peers: The same work of other programs.
        notes: What else was found.
        error: Why the case could not be measured; empty if it was.
        seconds: How long it took.
    """

    name: str
    title: str
    about: str
    metrics: Sequence[Metric] = (CPU, START, WALL, PEAK)
    plotted: Sequence[str] = ("cpu",)
    groups: list[Group] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    peers: list[Beside] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    def group(self, label: str, series: Sequence[Series], *limits: Limit, compared: bool = True) -> Group:
        """Add what contenders needed that did the same work."""
        self.groups.append(Group(label, series, limits, compared))
        return self.groups[-1]

    def at_most(self, what: str, wanted: float, measured: float, unit: Unit, detail: str = "") -> None:
        """Add a target that is reached by what is not more."""
        self.targets.append(Target(what, wanted, measured, False, unit, detail))

    def at_least(self, what: str, wanted: float, measured: float, unit: Unit, detail: str = "") -> None:
        """Add a target that is reached by what is not less."""
        self.targets.append(Target(what, wanted, measured, True, unit, detail))

    def times_less(self, group: Group, other: str, metric: Metric, wanted: float, what: str) -> None:
        """Add a target for how many times less the first contender of a group needs than another one."""
        found = group.ratios(metric.key)[other]
        self.at_least(what, wanted, found.value, "x", f"rounds {found.least:.2f}-{found.most:.2f}")

    def beside(self, what: str, ours: Series, *peers: Series, **wanted: float) -> None:
        """Say what we need for some work by what others need.

        Args:
            what: The work.
            ours: Of the same rounds as the others.
            peers: The others.
            wanted: `cpu`, `wall`, `peak`: what each ratio should be at most.
        """
        for peer in peers:
            ratios = {metric.key: ratio(ours, peer, metric.key) for metric in (CPU, WALL, PEAK)}
            self.peers.append(Beside(what, peer.name, ratios, wanted))

    def verdicts(self) -> list[tuple[str, str, str, str]]:
        """Return what should be reached as texts: what is counted, the bound, what was found, and the verdict."""
        if self.error:
            return [("", "", "", "not measured")]
        return [(t.what, t.text_wanted, t.text_measured, t.verdict) for t in self.targets]

    def as_document(self) -> dict[str, Any]:
        """Return everything as plain values: every sample of every round, in seconds and bytes."""
        return {
            "name": self.name,
            "title": self.title,
            "about": self.about,
            "metrics": [asdict(metric) for metric in self.metrics],
            "groups": [_group_document(group, self.metrics) for group in self.groups],
            "targets": [{**asdict(t), "reached": t.reached if t.judged else None} for t in self.targets],
            "peers": [asdict(row) for row in self.peers],
            "notes": self.notes,
            "error": self.error or None,
            "seconds": round(self.seconds, 3),
        }


def _group_document(group: Group, metrics: Sequence[Metric]) -> dict[str, Any]:
    contenders = {}
    for series in group.series:
        contenders[series.name] = {
            "samples": [{"wall": s.wall, "cpu": s.cpu, "peak": s.peak, **s.said} for s in series.samples],
            "median": {m.key: series.median(m.key) for m in metrics if series.values(m.key)},
        }
    return {
        "label": group.label,
        "contenders": contenders,
        "ratios": {
            m.key: {name: asdict(r) for name, r in found.items()} for m in metrics if (found := group.ratios(m.key))
        },
    }
