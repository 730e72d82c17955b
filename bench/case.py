"""The cases that can be asked for: a function each, which measures on a bed and says what it found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.bed import Bed
from bench.results import CPU, PEAK, START, WALL, CaseResult, Metric

Measure = Callable[[Bed, CaseResult], None]
"""Fills the result of its case."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case.

    Attributes:
        summary: One line.
        measure: The function.
        blank: Makes the result that it is given.
    """

    summary: str
    measure: Measure
    blank: Callable[[], CaseResult]


CASES: Final[dict[str, Case]] = {}
"""By name, in the order in which they run; complete once `bench.run` is imported."""


def case(
    name: str,
    title: str,
    *,
    metrics: Sequence[Metric] = (CPU, START, WALL, PEAK),
    plotted: Sequence[str] = ("cpu",),
) -> Callable[[Measure], Measure]:
    """Make a function a case: the first line of its docstring is the summary, the rest says to readers of the page what
    is measured and how.

    Args:
        name: As given to `--case`.
        title: Heading on the page.
        metrics: What the tables show.
        plotted: Keys of those with a plot.
    """

    def register(measure: Measure) -> Measure:
        summary, _, about = inspect.getdoc(measure).partition("\n\n")  # type: ignore[union-attr]  # each has one
        blank = partial(CaseResult, name, title, " ".join(about.split()), metrics, plotted)
        CASES[name] = Case(summary[0].lower() + summary[1:].removesuffix("."), measure, blank)
        return measure

    return register
