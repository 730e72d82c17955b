"""A channel of thirty small synthetic packages, as the engine's tests need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asynccache.model.digest import digest_file
from asynccache.model.package import Package
from tests.support.synthetic_packages import write_synthetic_channel


@dataclass(frozen=True)
class SyntheticChannel:
    """Thirty packages, alternately .tar.bz2 and .conda.

    Attributes:
        root: Its directory.
        paths: The archives, in order.
    """

    root: Path
    paths: tuple[Path, ...]

    def packages(self, base: str, count: int = 30) -> list[Package]:
        """Return the first packages as they are published at a URL, with their digests."""
        return [
            Package.from_url(f"{base}/linux-64/{path.name}", digest_file(str(path), "md5", "sha256"))
            for path in self.paths[:count]
        ]


def write_small_channel(root: Path) -> SyntheticChannel:
    """Write the channel into a new directory."""
    sizes = [4_000 + 3_001 * number for number in range(28)] + [900_000, 2_500_000]
    return SyntheticChannel(root, tuple(write_synthetic_channel(root, sizes)))
