"""What the contenders work on: sets of packages, made once and kept in `.cache/bench` beside the test channels.

A set's directory is named by what it is made from, so a changed recipe makes a new one. Each is made in a process of
its own (`python -m bench.inputs NAME`): the process that measures has to stay small (see `bench.harness`).

The real packages are a Python, numpy and pandas out of the tests' channel, which come from this machine's interpreter
and from PyPI. What exists in one format only is converted with conda-package-handling, so that nobody reads an archive
that asynccache wrote.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.harness import REPOSITORY, ContenderError
from bench.input_files import MIB, Recipe, stem_of, write

_VERSION: Final = 2  # of what is written: another one makes all sets again
_BUILD_SECONDS: Final = 1800


@dataclass(frozen=True, slots=True)
class Archive:
    """One package archive of a set.

    Attributes:
        path: The file.
        md5: Of the file.
        sha256: Of the file.
        size: Of the file, in bytes.
        unpacked: Bytes of its tar stream or streams.
    """

    path: Path
    md5: str
    sha256: str
    size: int
    unpacked: int

    @classmethod
    def of(cls, path: Path, unpacked: int) -> Archive:
        """Read a file's digests."""
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path, md5, sha256, path.stat().st_size, unpacked)

    def address(self, base: str) -> dict[str, object]:
        """Return what a worker needs to fetch it from a server of the set's directory."""
        url = f"{base}/{self.path.parent.name}/{self.path.name}"
        return {"url": url, "md5": self.md5, "sha256": self.sha256, "size": self.size}


RECIPES: Final[dict[str, Recipe]] = {
    "real": Recipe("real"),
    "mix": Recipe("both", spread=(12, 2 * MIB, 24 * MIB)),
    "mix-quick": Recipe("both", spread=(3, MIB // 4, MIB)),
    "channel": Recipe("mixed", spread=(60, MIB, 64 * MIB)),
    "channel-quick": Recipe("mixed", spread=(8, MIB // 8, MIB)),
    "many": Recipe("mixed", spread=(300, 16 << 10, 64 << 10)),
    "many-quick": Recipe("mixed", spread=(30, 4 << 10, 8 << 10)),
    "flight": Recipe("mixed", sizes=(8 * MIB,) * 96),
    "flight-quick": Recipe("mixed", sizes=(MIB // 8,) * 12),
    "sized-16": Recipe("sized", sizes=(16 * MIB,)),
    "sized-256": Recipe("sized", sizes=(256 * MIB,)),
    "sized-1024": Recipe("sized", sizes=(1024 * MIB,)),
    "sized-quick": Recipe("sized", sizes=(2 * MIB,)),
}


def load(name: str, say: Callable[[str], None] = lambda _text: None) -> list[Archive]:
    """Return the archives of a set, making it when it is not there yet.

    Raises:
        ContenderError: There is no such set, or it could not be made.
    """
    if name not in RECIPES:
        raise ContenderError(f"there are no inputs `{name}`")
    directory = _directory(name)
    if not directory.is_dir():
        say(f"  making the inputs `{name}` (kept for the next time)")
        command = [sys.executable, "-m", "bench.inputs", name]
        result = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
        )
        if result.returncode != 0:
            reason = " / ".join(result.stderr.strip().splitlines()[-3:])
            raise ContenderError(f"the inputs `{name}` could not be made: {reason}")
    entries = json.loads((directory / "set.json").read_text("utf-8"))
    return [Archive(directory / entry.pop("path"), **entry) for entry in entries]


def _directory(name: str) -> Path:
    support = REPOSITORY / "tests" / "support"
    state = hashlib.sha256(f"{_VERSION} {name} {RECIPES[name]}".encode())
    for builder in ("conda_package", "synthetic_packages", "channel"):
        state.update((support / f"{builder}.py").read_bytes())
    return REPOSITORY / ".cache" / "bench" / f"{name}-{state.hexdigest()[:12]}"


def _make(name: str) -> None:
    from tests.support.shared import making  # noqa: PLC0415 - the measuring process stays small

    final = _directory(name)
    with making(final.with_name(final.name + ".lock")):
        if final.is_dir():
            return
        for old in final.parent.iterdir():
            if old.is_dir() and re.fullmatch(re.escape(name) + r"-[0-9a-f]{12}(\.\w+)?", old.name):
                shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=f"{final.name}.") as building:
            building_set = Path(building, "set")
            unpacked = write(building_set, RECIPES[name])
            files = sorted(p for p in building_set.rglob("*") if p.name.endswith((".conda", ".tar.bz2")))
            archives = [Archive.of(path, unpacked[stem_of(path)]) for path in files]
            entries = [{**asdict(a), "path": a.path.relative_to(building_set).as_posix()} for a in archives]
            (building_set / "set.json").write_text(json.dumps(entries, indent=1))
            building_set.rename(final)


if __name__ == "__main__":
    _make(sys.argv[1])
