"""Horizontal bars with a dot for every round, as SVG; colours come from the page's style sheet."""

from __future__ import annotations

import io
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.results import Group, Metric

# what the page's style sheet calls colours; drawn in one that nothing else has
_COLOURS: Final = {name: f"#0000{n:02x}" for n, name in enumerate(("ours", "other", "dot", "limit", "line"), start=1)}

_UNTOLD: Final = ("Creator", "Date", "Format", "Type")  # of the metadata


def bars(group: Group, metric: Metric) -> str:
    """Draw the median of a metric for every contender of a group, its rounds, and the group's limits.

    >>> from bench.harness import Sample, Series
    >>> from bench.results import WALL
    >>> bars(Group("work", [Series("one", (Sample(1.0, 1.0, 1),))]), WALL).count("var(--ours)")
    1
    """
    series = [one for one in group.series if one.values(metric.key)]
    figure = Figure(figsize=(9, 0.8 + 0.34 * len(series)), layout="constrained")
    axes = figure.subplots()
    known = any(one.name.startswith("asynccache") for one in series)
    for row, one in enumerate(series):
        values = [metric.scaled(value) for value in one.values(metric.key)]
        median = one.median(metric.key)
        ours = not known or one.name.startswith("asynccache")
        axes.barh(row, metric.scaled(median), 0.55, color=_COLOURS["ours" if ours else "other"])
        axes.scatter(values, [row] * len(values), 14, _COLOURS["dot"], alpha=0.65, zorder=2)
        axes.annotate(metric.text(median), (max(values), row), (9, 0), textcoords="offset points", va="center")
    for limit in group.limits:
        if limit.metric == metric.key:
            place = metric.scaled(limit.value)
            axes.axvline(place, color=_COLOURS["limit"], linestyle="--")
            axes.annotate(limit.label, (place, 1), (0, 4), axes.get_xaxis_transform(), "offset points", ha="center")
    axes.set_yticks(range(len(series)), [one.name for one in series])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=_COLOURS["line"])
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):  # text stays text
        figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(_UNTOLD))
    svg = text.getvalue()
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg[svg.index("<svg") :]
