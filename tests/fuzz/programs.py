"""Lets other programs unpack what our reader accepts, and compares the trees that they leave with tarfile's.

    python -m tests.fuzz.programs --runs 5000 --seed 1 [--bsdtar PROGRAM]

Each program unpacks some hundred packages in one process (bsdtar, which is no library, one each).
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import importlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynccache.archive import check
from asynccache.errors import ArchiveError
from asynccache.hydrate.extract import extract_conda
from tests.fuzz.inputs import Input, make_input
from tests.fuzz.judge import LIMITS
from tests.fuzz.reference import unpacked

KNOWN: Final = {
    ("rattler", "several streams"): "reads the first bzip2 stream only; we give it no .tar.bz2 (hydrate/extract.py)",
    ("rattler", "file length is not available in the local header"): "reads no entry whose sizes follow it in a file",
    ("bsdtar", "can't be converted from"): "takes a name in a PAX header that is not UTF-8, and ends with a warning",
}
"""Where other programs are known not to do as we and tarfile do: program and what tells it -> what it does."""

_BATCH: Final = 250  # packages
_SHOWN: Final = 40
_SECONDS: Final = 300
REFERENCE: Final = "tarfile"


def _by_tarfile(path: Path, out: Path, _: str) -> None:
    for raw in unpacked(path.name, path.read_bytes()):
        if raw.strip(b"\0"):
            with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
                archive.extractall(out, filter=_without_owner)


def _without_owner(member: tarfile.TarInfo, _path: str) -> tarfile.TarInfo:
    return member.replace(uid=0, gid=0, uname="", gname="", mtime=0)


def _by_cph(path: Path, out: Path, _: str) -> None:
    importlib.import_module("conda_package_handling.api").extract(str(path), str(out))


def _by_rattler(path: Path, out: Path, _: str) -> None:
    importlib.import_module("rattler.package_streaming").extract(path, out)


def _by_us(path: Path, out: Path, _: str) -> None:
    extract_conda(path, out, limits=LIMITS)


def _by_bsdtar(path: Path, out: Path, program: str) -> None:
    words = [program, "--no-same-owner", "-m", "-xf"]
    variables = {**os.environ, "LC_ALL": "C.UTF-8"}
    if path.name.endswith(".tar.bz2"):
        subprocess.run([*words, path, "-C", out], check=True, capture_output=True, env=variables, timeout=_SECONDS)
        return
    with tempfile.TemporaryDirectory(dir=out.parent) as parts:
        subprocess.run([*words, path, "-C", parts], check=True, capture_output=True, env=variables, timeout=_SECONDS)
        for part in sorted(Path(parts).glob("*.tar.zst")):
            subprocess.run([*words, part, "-C", out], check=True, capture_output=True, env=variables, timeout=_SECONDS)


PROGRAMS: Final[dict[str, Callable[[Path, Path, str], None]]] = {
    REFERENCE: _by_tarfile,
    "asynccache": _by_us,
    "cph": _by_cph,
    "rattler": _by_rattler,
    "bsdtar": _by_bsdtar,
}


def tree(root: Path) -> dict[str, list[str]]:
    """Return files (content, whether executable) and links (target) below a directory, by path."""
    found: dict[str, list[str]] = {}
    for directory, below, names in os.walk(os.fsencode(root)):
        for name in [*below, *names]:
            where = os.path.join(directory, name)  # noqa: PTH118 - names are bytes
            status = os.lstat(where)
            path = where[len(os.fsencode(root)) + 1 :].decode("utf-8", "backslashreplace")
            if stat.S_ISLNK(status.st_mode):
                found[path] = ["link", os.readlink(where).decode("utf-8", "backslashreplace")]  # noqa: PTH115
            elif stat.S_ISREG(status.st_mode):
                # whether a hard link's header changes the mode of what it links to is the program's choice
                mode = "shared" if status.st_nlink > 1 else "executable" if status.st_mode & 0o100 else "file"
                with open(where, "rb") as file:  # noqa: PTH123
                    found[path] = [hashlib.file_digest(file, "sha256").hexdigest(), mode]
    return found


def unpack_all(program: str, batch: Path, bsdtar: str) -> None:
    """Print what a program leaves of each package of a directory, one JSON line each."""
    for directory in sorted(batch.iterdir()):
        [path] = directory.iterdir()
        out = Path(tempfile.mkdtemp(dir=batch.parent))
        try:
            PROGRAMS[program](path, out, bsdtar)
            left: object = tree(out)
        except subprocess.CalledProcessError as exc:
            left = exc.stderr.decode("utf-8", "replace")[:500]
        except Exception as exc:  # noqa: BLE001 - libraries have many kinds
            left = f"{type(exc).__name__}: {exc}"[:500]
        shutil.rmtree(out, ignore_errors=True)
        print(json.dumps([directory.name, left]))  # noqa: T201 - its result


def compare(seed: int, runs: int, bsdtar: str | None, scratch: Path) -> tuple[Counter[str], list[str]]:
    """Return how many packages each program unpacked as tarfile does, and where one did not."""
    counts, wrong = Counter[str](), list[str]()
    programs = [name for name in PROGRAMS if name != "bsdtar" or bsdtar]
    number = 0
    while counts["packages"] < runs:
        batch = scratch / "batch"
        batch.mkdir()
        taken = 0
        while taken < min(_BATCH, runs - counts["packages"]):
            taken += _put(batch / f"{number:08}", make_input(seed, number))
            number += 1
        trees = {name: _unpacked_by(name, batch, bsdtar or "") for name in programs}
        for name in programs:
            for package, left in trees[name].items():
                expected = trees[REFERENCE][package]
                if left == expected and not isinstance(left, str):
                    counts[f"{name}: as tarfile"] += 1
                elif known := _known(name, left, make_input(seed, int(package))):
                    counts[f"{name}: otherwise, since it {known}"] += 1
                else:
                    counts[f"{name}: WRONG"] += 1
                    wrong.append(f"seed {seed} number {int(package)}: {name} {_difference(left, expected)}")
        counts["packages"] += taken
        shutil.rmtree(batch)
    return counts, wrong


def _put(directory: Path, made: Input) -> bool:
    """Write a package into a new directory; leave nothing where our reader refuses it."""
    directory.mkdir()
    path = directory / made.name
    path.write_bytes(made.data)
    with suppress(ArchiveError):
        check(path, limits=LIMITS)
        return True
    shutil.rmtree(directory)
    return False


def _unpacked_by(program: str, batch: Path, bsdtar: str) -> dict[str, object]:
    words = [sys.executable, "-m", "tests.fuzz.programs", "--unpack", program, "--batch", str(batch)]
    words += ["--bsdtar", bsdtar]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=10 * _SECONDS)
    return dict(json.loads(line) for line in done.stdout.splitlines())


def _known(program: str, left: object, made: Input) -> str | None:
    several = made.name.endswith(".tar.bz2") and _several_streams(made.data)
    said = f"{left if isinstance(left, str) else ''}{' several streams' * several}"
    return next((why for (name, words), why in KNOWN.items() if name == program and words in said), None)


def _several_streams(data: bytes) -> bool:
    decoder = bz2.BZ2Decompressor()
    with suppress(OSError):
        decoder.decompress(data)
    return bool(decoder.unused_data)


def _difference(left: object, expected: object) -> str:
    if isinstance(left, str) or not isinstance(expected, dict) or not isinstance(left, dict):
        return f"{left}; expected {expected}"[:500]
    paths = [p for p in sorted({*left, *expected}) if left.get(p) != expected.get(p)]
    shown = [f"{path!r} {left.get(path)} != {expected.get(path)}" for path in paths[:2]]
    return f"differs in {len(paths)}: {'; '.join(shown)}"[:400]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.programs", description="Compare programs that unpack.")
    parser.add_argument("--runs", type=int, default=5000, help="packages that our reader accepts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bsdtar", default=shutil.which("bsdtar"))
    parser.add_argument("--unpack", choices=PROGRAMS, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.unpack:
        unpack_all(arguments.unpack, arguments.batch, arguments.bsdtar)
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        counts, wrong = compare(arguments.seed, arguments.runs, arguments.bsdtar, Path(scratch))
    for what, count in sorted(counts.items()):
        print(f"{count:>7}  {what}")  # noqa: T201 - its result
    if not arguments.bsdtar:
        print("        bsdtar was not found")  # noqa: T201
    for line in wrong[:_SHOWN]:
        print(f"WRONG  {line}")  # noqa: T201
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
