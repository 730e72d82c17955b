"""Reading figures of Prometheus as strictly as its text format, `promtool check metrics` and the textfile collector do.

The strict parser of `prometheus_client` is that of OpenMetrics, whose gauges are written like those of the text format:
it refuses what comes twice or out of order, labels and names that cannot be, and values that are no numbers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_strictly
from prometheus_client.parser import text_string_to_metric_families as parsed

_NAME: Final = re.compile(r"asynccache(_[a-z0-9]+)+")
_OF_OTHER_TYPES: Final = ("_total", "_count", "_sum", "_bucket", "_info")
_SMALL_UNITS: Final = {"ms", "milliseconds", "minutes", "hours", "days", "kb", "kilobytes", "megabytes", "percent"}


def checked_families(path: Path) -> dict[str, Metric]:
    """Return the metrics of a file, by name.

    Raises:
        AssertionError: A program that reads it may refuse it, or `promtool` complains.
        ValueError: It is not of this format.
    """
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n"), "the last line has no end"
    strictly = {family.name: family for family in parsed_strictly(f"{text}# EOF\n")}  # type: ignore[no-untyped-call]
    found = {family.name: family for family in parsed(text)}
    assert strictly == found, "the two formats read it differently"
    for name, family in found.items():
        assert _NAME.fullmatch(name), name
        assert family.type == "gauge", f"{name} is a {family.type}: a file says how things stand after one run"
        assert family.documentation.endswith("."), f"{name} has no help"
        assert not name.endswith(_OF_OTHER_TYPES), f"{name} is named like another type"
        assert not {*name.split("_")} & {*_SMALL_UNITS, "gauge"}, f"{name}: base units, and no type in a name"
        for sample in family.samples:
            assert sample.name == name
            assert sample.timestamp is None, f"{name}: the textfile collector refuses files with times"
            assert sample.labels["command"], f"{name} does not say of which command"
    return found
