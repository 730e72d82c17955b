"""What holds for the tests themselves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = re.compile(r"perf_counter|monotonic|process_time|thread_time|time\.time\b|loop\(\)\.time")
DURATIONS = re.compile(r"\bseconds\b|\belapsed\b|\bduration\b")


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_asserts_how_long_something_takes(path: Path) -> None:
    """Promises of time are shown by `bench/` as ratios; tests count work or move a clock."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            for compared in (each for each in ast.walk(node.test) if isinstance(each, ast.Compare)):
                if not all(isinstance(operation, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for operation in compared.ops):
                    continue
                said = ast.get_source_segment(text, compared) or ""
                assert not CLOCKS.search(said), said
                positive = isinstance(compared.ops[0], ast.Gt) and ast.unparse(compared.comparators[0]) == "0"
                assert positive or not DURATIONS.search(said), said
