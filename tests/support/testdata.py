"""Find the optional collection of real packages and channel indexes.

It is looked for in the directory that `ASYNCCACHE_TESTDATA` names, else in `../shared/testdata` beside the
repository. Nothing of it belongs to the repository; tests skip what is not there.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from asynccache.model.package import CONDA_FORMATS

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class RealPackage:
    """A published archive of the collection.

    Attributes:
        path: The file.
        fields: Its line of the collection's table, by column; empty if it has none.
    """

    path: Path
    fields: dict[str, str]


def find_testdata() -> Path | None:
    """Return the collection's directory, None if it is not there."""
    named = os.environ.get("ASYNCCACHE_TESTDATA")
    directory = Path(named) if named else REPOSITORY.parent / "shared" / "testdata"
    return directory if directory.is_dir() else None


def real_packages() -> list[RealPackage]:
    """Return the collection's conda archives in order of their paths; empty if it is not there."""
    directory = find_testdata()
    if directory is None or not (directory / "packages").is_dir():
        return []
    table: dict[str, dict[str, str]] = {}
    manifest = directory / "MANIFEST.tsv"
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as file:
            for fields in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                table[fields["local_path"]] = fields
    paths = sorted(p for p in (directory / "packages").rglob("*") if p.name.endswith(CONDA_FORMATS) and p.is_file())
    return [RealPackage(path, table.get(path.relative_to(directory).as_posix(), {})) for path in paths]
