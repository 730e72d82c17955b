"""What the contenders work on: sets of packages, made once and kept in `.cache/bench` beside the test channels.

A set's directory is named by what it is made from, so a changed recipe makes a new one. Each is made in a process of
its own (`python -m bench.inputs NAME`): the process that measures has to stay small (see `bench.harness`).

The real packages are a Python, numpy and pandas out of the tests' channel, which come from this machine's interpreter
and from PyPI. What exists in one form only is converted with conda-package-handling, so that nobody reads an archive
that asynccache wrote.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness import REPOSITORY, ContenderError

MIB: Final = 1 << 20
_REAL: Final = ("numpy", "pandas", "python")
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

    def address(self, base: str) -> dict[str, object]:
        """Return what a worker needs to fetch it from a server of the set's directory."""
        url = f"{base}/{self.path.parent.name}/{self.path.name}"
        return {"url": url, "md5": self.md5, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a set is made.

    Attributes:
        kind: `real`, `mixed` (alternately .tar.bz2 and .conda) or `both` (each size in both formats).
        sizes: Unpacked bytes of each synthetic package.
    """

    kind: str
    sizes: tuple[int, ...] = ()


def _spread(count: int, median: int, largest: int) -> tuple[int, ...]:
    from tests.support.synthetic_packages import lognormal_sizes  # noqa: PLC0415 - keeps the measuring process small

    return tuple(lognormal_sizes(count, median=median, largest=largest))


RECIPES: Final[Mapping[str, Callable[[], Recipe]]] = {
    "real": lambda: Recipe("real"),
    "mix": lambda: Recipe("both", _spread(12, 2 * MIB, 24 * MIB)),
    "mix-quick": lambda: Recipe("both", _spread(3, MIB // 4, MIB)),
    "channel": lambda: Recipe("mixed", _spread(60, MIB, 64 * MIB)),
    "channel-quick": lambda: Recipe("mixed", _spread(8, MIB // 8, MIB)),
    "many": lambda: Recipe("mixed", _spread(300, 16 << 10, 64 << 10)),
    "many-quick": lambda: Recipe("mixed", _spread(30, 4 << 10, 8 << 10)),
    "flight": lambda: Recipe("mixed", (8 * MIB,) * 96),
    "flight-quick": lambda: Recipe("mixed", (MIB // 8,) * 12),
    "sized-16": lambda: Recipe("both", (16 * MIB,)),
    "sized-256": lambda: Recipe("both", (256 * MIB,)),
    "sized-1024": lambda: Recipe("both", (1024 * MIB,)),
    "sized-quick": lambda: Recipe("both", (2 * MIB,)),
}


def load(name: str, tell: Callable[[str], None] = lambda _text: None) -> list[Archive]:
    """Return the archives of a set, making it when it is not there yet.

    Raises:
        ContenderError: It could not be made.
    """
    directory = _directory(name)
    if not directory.is_dir():
        tell(f"  making the inputs `{name}` (kept for the next time)")
        command = [sys.executable, "-m", "bench.inputs", name]
        result = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
        )
        if result.returncode != 0:
            reason = " / ".join(result.stderr.strip().splitlines()[-3:])
            raise ContenderError(f"the inputs `{name}` could not be made: {reason}")
    entries = json.loads((directory / "set.json").read_text("utf-8"))
    return [Archive(directory / e["file"], e["md5"], e["sha256"], e["size"], e["unpacked"]) for e in entries]


def of_format(archives: Sequence[Archive], ending: str) -> list[Archive]:
    """Return the archives whose file name ends so."""
    return [archive for archive in archives if archive.path.name.endswith(ending)]


def _directory(name: str) -> Path:
    support = REPOSITORY / "tests" / "support"
    state = hashlib.sha256(name.encode() + Path(__file__).read_bytes())
    for builder in ("conda_package", "synthetic_packages", "channel"):
        state.update((support / f"{builder}.py").read_bytes())
    return REPOSITORY / ".cache" / "bench" / f"{name}-{state.hexdigest()[:12]}"


def _make(name: str) -> None:
    final = _directory(name)
    final.parent.mkdir(parents=True, exist_ok=True)
    with _locked(final.with_name(final.name + ".lock")):
        if final.is_dir():
            return
        for old in final.parent.glob(f"{name}-????????????*"):
            if old.is_dir():
                shutil.rmtree(old)
        aside = final.with_name(f"{final.name}.{os.getpid()}")
        try:
            recipe = RECIPES[name]()
            unpacked = _write_real(aside) if recipe.kind == "real" else _write_synthetic(aside, recipe)
            files = sorted(p for p in aside.rglob("*") if p.name.endswith((".conda", ".tar.bz2")))
            entries = [_entry(path, aside, unpacked) for path in files]
            (aside / "set.json").write_text(json.dumps(entries, indent=1))
            aside.rename(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _entry(path: Path, root: Path, unpacked: Mapping[str, int]) -> dict[str, object]:
    from asynccache.model.digest import digest_file  # noqa: PLC0415
    from asynccache.model.package import split_filename  # noqa: PLC0415

    digests = digest_file(str(path), "md5", "sha256")
    return {
        "file": path.relative_to(root).as_posix(),
        "md5": digests.md5,
        "sha256": digests.sha256,
        "size": digests.size,
        "unpacked": unpacked[split_filename(path.name)[0]],
    }


def _write_real(root: Path) -> dict[str, int]:
    from tests.support.channel import cached_channel  # noqa: PLC0415

    channel = cached_channel("full")
    for package in channel.packages:
        if package.name in _REAL:
            directory = root / package.subdir
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy(package.path, directory)
    for path in sorted(root.rglob("*.*")):
        if path.is_file():
            _convert(path)
    return {p.name.removesuffix(".tar.bz2"): _tar_bytes(p) for p in root.rglob("*.tar.bz2")}


def _write_synthetic(root: Path, recipe: Recipe) -> dict[str, int]:
    from asynccache.model.package import Format  # noqa: PLC0415
    from tests.support.synthetic_packages import write_synthetic_channel  # noqa: PLC0415

    formats = (Format.TAR_BZ2, Format.CONDA) if recipe.kind == "mixed" else (Format.CONDA,)
    paths = write_synthetic_channel(root, recipe.sizes, formats=formats)
    stems = [path.name.removesuffix(".conda").removesuffix(".tar.bz2") for path in paths]
    if recipe.kind == "both":
        for path in paths:
            _convert(path)
    return dict(zip(stems, recipe.sizes, strict=True))


def _convert(path: Path) -> None:
    """Write the other form of an archive beside it, unless it is there."""
    api = importlib.import_module("conda_package_handling.api")
    ending = ".tar.bz2" if path.name.endswith(".conda") else ".conda"
    failed = api.transmute(str(path), ending, out_folder=str(path.parent), zstd_compress_level=3)
    if failed:
        raise ContenderError(f"conda-package-handling could not convert {path.name}: {failed}")


def _tar_bytes(path: Path) -> int:
    with bz2.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        return sum(512 + -(-member.size // 512) * 512 for member in archive)


def main() -> None:
    """Make a set: `python -m bench.inputs NAME`."""
    parser = argparse.ArgumentParser(prog="python -m bench.inputs", description="Make a set of packages to measure on.")
    parser.add_argument("name", choices=sorted(RECIPES))
    _make(parser.parse_args().name)


if __name__ == "__main__":
    main()
