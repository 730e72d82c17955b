"""A small form of `make test-gc`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collecting.run import run


@pytest.mark.long
async def test_nothing_that_can_be_reached_is_swept_beside_processes_that_make_environments(tmp_path: Path) -> None:
    found = await run(tmp_path, 60, 3)
    assert found["wrong"] == []
    assert found["made"]
    assert found["removed"]
