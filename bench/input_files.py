"""Writes the packages that are measured on; imported only by the process that makes them, but for `Recipe`."""

from __future__ import annotations

import bz2
import importlib
import random
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.harness import ContenderError

if TYPE_CHECKING:
    from tests.support.conda_package import Blocks

MIB: Final = 1 << 20
_REAL: Final = ("numpy", "pandas", "python")
_FILE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a set is made.

    Attributes:
        kind: `real`; `mixed` (alternately .tar.bz2 and .conda); `both` (each size in both formats); or `sized` (as
            `both`, generated block by block).
        sizes: Unpacked bytes of each synthetic package.
        spread: Instead of sizes: how many, their median and the largest, spread as those of published packages are.
    """

    kind: str
    sizes: tuple[int, ...] = ()
    spread: tuple[int, int, int] | None = None


def stem_of(archive: Path) -> str:
    """Return an archive's name without its extension."""
    return archive.name.removesuffix(".conda").removesuffix(".tar.bz2")


def write(root: Path, recipe: Recipe) -> dict[str, int]:
    """Write a set below `root`; return the unpacked bytes of each package by its file name without extension.

    Raises:
        ContenderError: A package could not be converted.
    """
    if recipe.kind == "real":
        return _write_real(root)
    return _write_sized(root, recipe) if recipe.kind == "sized" else _write_synthetic(root, recipe)


def _write_real(root: Path) -> dict[str, int]:
    from tests.support.channel import cached_channel  # noqa: PLC0415

    channel = cached_channel("full")
    for package in channel.packages:
        if package.name in _REAL:
            directory = root / package.subdir
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy(package.path, directory)
    for path in sorted(p for p in root.rglob("*.*") if p.is_file()):
        _convert(path)
    return {stem_of(p): _tar_bytes(p) for p in root.rglob("*.tar.bz2")}


def _write_synthetic(root: Path, recipe: Recipe) -> dict[str, int]:
    from asynccache.model.package import Format  # noqa: PLC0415
    from tests.support.synthetic_packages import lognormal_sizes, write_synthetic_channel  # noqa: PLC0415

    sizes: Sequence[int] = recipe.sizes
    if recipe.spread is not None:
        count, median, largest = recipe.spread
        sizes = lognormal_sizes(count, median=median, largest=largest)
    formats = (Format.TAR_BZ2, Format.CONDA) if recipe.kind == "mixed" else (Format.CONDA,)
    paths = write_synthetic_channel(root, sizes, formats=formats)
    if recipe.kind == "both":
        for path in paths:
            _convert(path)
    return dict(zip(map(stem_of, paths), sizes, strict=True))


def _write_sized(root: Path, recipe: Recipe) -> dict[str, int]:
    """Write packages of any size without holding them in memory: half in files of 64 KiB, half in one large one."""
    from asynccache.model.package import Format  # noqa: PLC0415
    from tests.support.conda_package import Member, Metadata, write_package  # noqa: PLC0415

    directory = root / "linux-64"
    directory.mkdir(parents=True)
    unpacked = {}
    for size in recipe.sizes:
        metadata = Metadata(name=f"sized-{size // MIB}", version="1.0", build="h0_0", subdir="linux-64")
        half = size // 2 // _FILE_BYTES
        members = [Member(f"lib/{number}.bin", _blocks(number, 1)) for number in range(half)]
        members.append(Member("lib/large.bin", _blocks(half, half)))
        (path,) = write_package(directory, metadata, members, (Format.CONDA,), level=3)
        _convert(path)
        unpacked[metadata.stem] = 2 * half * _FILE_BYTES
    return unpacked


def _blocks(first: int, count: int) -> Blocks:
    from tests.support.conda_package import Blocks  # noqa: PLC0415

    return Blocks(count * _FILE_BYTES, lambda: map(_content, range(first, first + count)))


def _content(number: int) -> bytes:
    """Return 64 KiB that shrink to about a half: bytes of a small alphabet."""
    source = random.Random(number)
    alphabet = bytes(min(255, int(source.expovariate(1 / 8))) for _ in range(256))
    return source.randbytes(_FILE_BYTES).translate(alphabet)


def _convert(path: Path) -> None:
    """Write the other format of an archive beside it, unless it is there."""
    api = importlib.import_module("conda_package_handling.api")
    ending = ".tar.bz2" if path.name.endswith(".conda") else ".conda"
    failed = api.transmute(str(path), ending, out_folder=str(path.parent), zstd_compress_level=3)
    if failed:
        raise ContenderError(f"conda-package-handling could not convert {path.name}: {failed}")


def _tar_bytes(path: Path) -> int:
    with bz2.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        return sum(512 + -(-member.size // 512) * 512 for member in archive)
