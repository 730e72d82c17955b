"""Settings of an engine on a local store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.config import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**changed: object) -> Settings:
        values: dict[str, object] = {
            "store": str(tmp_path / "store"),
            "cache_dir": tmp_path / "cache",
            "retry_cap": 0.05,
            "outage_timeout": 0.0,
            "lock_timeout": 60.0,
            "read_timeout": 5.0,
        }
        return Settings(**{**values, **changed})  # type: ignore[arg-type]

    return make
