"""A channel of small synthetic packages, an engine on a local store, and packages by URL."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.model.digest import digest_file
from asynccache.model.package import Package
from tests.support.synthetic_packages import write_synthetic_channel


@dataclass(frozen=True)
class SyntheticChannel:
    """Thirty packages, alternately .tar.bz2 and .conda."""

    root: Path
    paths: tuple[Path, ...]

    def packages(self, base: str, count: int = 30) -> list[Package]:
        return [
            Package.from_url(f"{base}/linux-64/{path.name}", digest_file(str(path), "md5", "sha256"))
            for path in self.paths[:count]
        ]


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> SyntheticChannel:
    root = tmp_path_factory.mktemp("channel") / "ch"
    sizes = [4_000 + 3_001 * number for number in range(28)] + [900_000, 2_500_000]
    return SyntheticChannel(root, tuple(write_synthetic_channel(root, sizes)))


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**changed: object) -> Settings:
        values: dict[str, object] = {
            "store": str(tmp_path / "store"),
            "cache_dir": tmp_path / "cache",
            "retry_cap": 0.05,
            "lock_timeout": 60.0,
            "read_timeout": 5.0,
        }
        return Settings(**{**values, **changed})  # type: ignore[arg-type]

    return make
