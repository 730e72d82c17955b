"""A small table of conda packages, channels on disk that publish it, and the built-in resolver on these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asynccache.config import Settings
from asynccache.resolve.conda.rattler_solver import RattlerResolver


@dataclass(frozen=True)
class TablePackage:
    """A row of the table; what it depends on as conda writes it, digests made up from its name."""

    name: str
    version: str
    build: str = "0"
    depends: tuple[str, ...] = ()
    subdir: str = "noarch"
    channel: str = "conda-forge"
    published: datetime | None = None
    size: int = 1000

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def md5(self) -> str:
        return hashlib.md5(self.filename.encode(), usedforsecurity=False).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.filename.encode()).hexdigest()


def _at(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def _pythons() -> Iterable[TablePackage]:
    for subdir in ("linux-64", "linux-aarch64", "osx-arm64"):
        for version, year in (("3.10.14", 2021), ("3.11.9", 2022), ("3.12.4", 2024)):
            needs = ("zlib >=1.2",) if subdir == "linux-64" else ()
            yield TablePackage("python", version, "h1_0", needs, subdir, published=_at(year), size=30_000_000)


def _numpys() -> Iterable[TablePackage]:
    for subdir in ("linux-64", "linux-aarch64", "osx-arm64"):
        for version, year in (("1.26.4", 2023), ("2.1.0", 2024)):
            for minor in (10, 11, 12):
                needs = (f"python >=3.{minor},<3.{minor + 1}.0a0",)
                yield TablePackage("numpy", version, f"py3{minor}_0", needs, subdir, published=_at(year))


TABLE: Final = (
    *_pythons(),
    *_numpys(),
    TablePackage("zlib", "1.2.13", "h0_0", (), "linux-64", published=_at(2020)),
    TablePackage("zlib", "1.3.1", "h0_0", (), "linux-64", published=_at(2023)),
    TablePackage("b", "1", "0", published=_at(2020)),
    TablePackage("b", "2", "0", published=_at(2023)),
    TablePackage("scikit-learn", "1.5.0", "py_0", ("numpy >=1.20", "python >=3.9"), published=_at(2023)),
    TablePackage("pandas", "2.2.0", "py_0", ("numpy >=1.22,<2", "python >=3.9", "six"), published=_at(2023)),
    TablePackage("six", "1.15.0", "py_0", ("python",), published=_at(2020)),
    TablePackage("six", "1.16.0", "py_0", ("python",), published=_at(2022)),
    TablePackage("six", "1.17.0", "py_0", ("python",), channel="other", published=_at(2023)),
    TablePackage("only-other", "1.0", "0", ("six",), channel="other", published=_at(2023)),
    TablePackage("choice", "1.0", "cpu_0", (), "linux-64", published=_at(2022)),
    TablePackage("choice", "1.0", "gpu_0", (), "linux-64", published=_at(2022)),
    TablePackage("modern", "1.0", "0", ("__glibc >=2.28",), "linux-64", published=_at(2022)),
    TablePackage("tool", "3.0", "0", published=_at(2022)),
    TablePackage("pip", "24.0", "py_0", ("python",), published=_at(2022)),
    TablePackage("uv", "0.9.1", "0", published=_at(2022)),
)


def write_table_channels(root: Path, table: Iterable[TablePackage] = TABLE) -> None:
    """Write `repodata.json` of every channel of the table below `root`, without the packages."""
    documents: dict[tuple[str, str], dict[str, Any]] = {}
    rows = tuple(table)
    for channel in {row.channel for row in rows}:
        for subdir in ("noarch", "linux-64", "linux-aarch64", "osx-arm64"):
            documents[channel, subdir] = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}}
    for row in rows:
        record = {
            "name": row.name,
            "version": row.version,
            "build": row.build,
            "build_number": 0,
            "depends": list(row.depends),
            "subdir": row.subdir,
            "md5": row.md5,
            "sha256": row.sha256,
            "size": row.size,
        }
        if row.published is not None:
            record["timestamp"] = int(row.published.timestamp() * 1000)
        documents[row.channel, row.subdir]["packages.conda"][f"{row.filename}.conda"] = record
    for (channel, subdir), document in documents.items():
        directory = root / channel / subdir
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "repodata.json").write_text(json.dumps(document), "utf-8")


def table_resolver(settings: Settings, table: Iterable[TablePackage] = TABLE) -> RattlerResolver:
    """Return the built-in resolver on a table's channels, which are written below its cache."""
    root = settings.cache_dir / "table-channels"
    write_table_channels(root, table)
    return RattlerResolver(replace(settings, channel_alias=root.as_uri()))
