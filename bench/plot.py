"""Horizontal bars with a dot for every round, as SVG; colours come from the page's style sheet."""

from __future__ import annotations

import math
from html import escape
from typing import Final

from bench.results import Group, Metric

_WIDTH: Final = 900
_LABEL: Final = 270
_RIGHT: Final = 120
_ROW: Final = 34
_BAR: Final = 18
_TOP: Final = 22
_BOTTOM: Final = 26


def bars(group: Group, metric: Metric) -> str:
    """Draw the median of a metric for every contender of a group, its rounds, and the group's limits.

    >>> from bench.harness import Sample, Series
    >>> from bench.results import WALL
    >>> bars(Group("work", [Series("one", (Sample(1.0, 1.0, 1),))]), WALL).count("<rect")
    1
    """
    series = [one for one in group.series if one.values(metric.key)]
    limits = [limit for limit in group.limits if limit.metric == metric.key]
    reach = max(
        [metric.scaled(max(one.values(metric.key))) for one in series] + [metric.scaled(x.value) for x in limits]
    )
    step = _step(reach)
    top = step * max(1, math.ceil(reach / step))
    height = _TOP + _ROW * len(series) + _BOTTOM
    span = _WIDTH - _LABEL - _RIGHT

    def place(value: float) -> float:
        return _LABEL + span * value / top

    parts = [f"<svg viewBox='0 0 {_WIDTH} {height}' role=img aria-label='{escape(metric.label, quote=True)}'>"]
    foot = height - _BOTTOM
    for number in range(round(top / step) + 1):
        x = place(number * step)
        parts.append(f"<line x1={x:.1f} x2={x:.1f} y1={_TOP} y2={foot} stroke='var(--line)'/>")
        parts.append(f"<text class=soft x={x:.1f} y={foot + 17} text-anchor=middle>{number * step:g}</text>")
    for number, one in enumerate(series):
        y = _TOP + _ROW * number + _ROW / 2
        median = metric.scaled(one.median(metric.key))
        colour = "var(--ours)" if _is_ours(group, number) else "var(--other)"
        values = [metric.scaled(value) for value in one.values(metric.key)]
        parts.append(f"<text x={_LABEL - 12} y={y + 4.5:.1f} text-anchor=end>{escape(one.name)}</text>")
        parts.append(
            f"<rect x={_LABEL} y={y - _BAR / 2:.1f} width={max(1.0, place(median) - _LABEL):.1f} height={_BAR} rx=3 "
            f"fill='{colour}'/>"
        )
        parts += [
            f"<circle cx={place(v):.1f} cy={y:.1f} r=2.6 fill='var(--dot)' fill-opacity=.65 stroke='var(--paper)'/>"
            for v in values
        ]
        x = place(max(*values, median)) if len(values) > 1 else place(median)
        parts.append(f"<text x={x + 9:.1f} y={y + 4.5:.1f}>{metric.text(one.median(metric.key))}</text>")
    for limit in limits:
        x = place(metric.scaled(limit.value))
        parts.append(
            f"<line x1={x:.1f} x2={x:.1f} y1={_TOP - 4} y2={foot} stroke='var(--limit)' stroke-width=1.6 "
            "stroke-dasharray='5 4'/>"
        )
        parts.append(
            f"<text class=soft x={x:.1f} y={_TOP - 9} text-anchor={'end' if x > _WIDTH - 240 else 'middle'}>"
            f"{escape(limit.label)}</text>"
        )
    return "".join([*parts, "</svg>"])


def _is_ours(group: Group, number: int) -> bool:
    if not group.compared:
        return any(s.name.startswith("asynccache") for s in group.series) is group.series[number].name.startswith(
            "asynccache"
        )
    return number == 0 or group.series[number].name.startswith("asynccache")


def _step(reach: float) -> float:
    """Return a round distance between about five marks up to `reach`."""
    if reach <= 0:
        return 1.0
    rough = reach / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
