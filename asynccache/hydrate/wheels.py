"""Installing extracted wheels into a linked prefix, in the document's order, without running its Python.

So it works for any architecture and for a prefix that is not at its final place yet. What it writes is what the binary
distribution format says an installer writes: RECORD with every file, INSTALLER, commands with the prefix's interpreter.
An existing distribution of the same name, from a conda package or an earlier wheel, is removed first.
"""
# a Path for each of thousands of files costs more than the file:
# ruff: noqa: PTH103, PTH108, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from asynccache.errors import ArchiveError, HydrationError
from asynccache.hydrate.extracted import Extracted
from asynccache.hydrate.place import LinkType, place_file
from asynccache.hydrate.scripts import entry_points, launcher, with_interpreter
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import parse_stem
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json

INSTALLER: Final = "asynccache"
_GENERATED: Final = {"RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"}


@dataclass(frozen=True, slots=True)
class PythonLayout:
    """The directories of an environment's Python.

    Attributes:
        version: Major and minor, such as `3.11`.
        site_packages: Relative to the prefix.
    """

    version: str
    site_packages: str


@dataclass(slots=True)
class Installed:
    """The result of installing wheels.

    Attributes:
        replaced: Distributions that existed before, as `name version`.
        clobbered: (path relative to the prefix, wheel that has it now) of files that existed before.
    """

    replaced: list[str] = field(default_factory=list)
    clobbered: list[tuple[str, str]] = field(default_factory=list)


def python_layout(packages: Sequence[Extracted]) -> PythonLayout | None:
    """Find out where the Python of an environment keeps its packages; None if it has no Python. Blocking.

    Raises:
        HydrationError: The package `python` has no version.
    """
    for extracted in packages:
        package = extracted.package
        if package.kind == "conda" and parse_stem("conda", package.filename).name == "python":
            version = parse_stem("conda", package.filename).version
            minor = ".".join(version.split(".")[:2])
            try:
                index = read_json((extracted.path / "info" / "index.json").read_bytes())
                said = index.get("python_site_packages_path")
                outside = said and any(part in {"", ".", ".."} or "\0" in part for part in said.split("/"))
            except (OSError, ValueError, AttributeError) as exc:
                raise HydrationError(f"info/index.json of {package.filename} cannot be read ({exc})") from exc
            if outside:
                raise HydrationError(f"{package.filename} has no directory for packages", found=repr(said[:240]))
            return PythonLayout(minor, said or f"lib/python{minor}/site-packages")
    return None


def install_wheels(
    wheels: Sequence[Extracted], target: Path, prefix: str, layout: PythonLayout, kind: LinkType
) -> Installed:
    """Install wheels into a directory. Blocking: call it in a thread.

    Args:
        wheels: Extracted wheels, in the order of the document; if two have a path, the later one wins.
        target: The linked conda packages.
        prefix: The path that is written into files.
        layout: Layout of the environment's Python.
        kind: How files are placed.

    Raises:
        ArchiveError: A wheel is invalid.
        DiskError: The disk is full or cannot be written.
    """
    done = Installed()
    with disk_errors(target):
        site_packages = target / layout.site_packages
        site_packages.mkdir(parents=True, exist_ok=True)
        there = _distributions(site_packages)
        for extracted in wheels:
            wheel = _Wheel(extracted, target, prefix, layout, kind)
            for old in there.pop(wheel.name, ()):
                done.replaced.append(_removed(old, target))
            wheel.install(done)
            there[wheel.name] = [site_packages / wheel.information]
    return done


class _Wheel:
    def __init__(self, extracted: Extracted, target: Path, prefix: str, layout: PythonLayout, kind: LinkType) -> None:
        self._package: EnvironmentPackage = extracted.package
        self._files = os.fspath(extracted.files)
        self._target = os.fspath(target)
        self._python = f"{prefix}/bin/python"
        self._layout = layout
        self._kind = kind
        parsed = parse_stem("pypi", extracted.package.filename)
        self.name = canonicalize_name(parsed.name)
        found = [n for n in os.listdir(self._files) if n.endswith(".dist-info")]
        named = [n for n in found if canonicalize_name(n.removesuffix(".dist-info").rpartition("-")[0]) == self.name]
        if len(named or found) != 1:
            raise ArchiveError(
                f"{extracted.package.filename}.whl cannot be installed",
                expected="one .dist-info directory",
                found=", ".join(sorted(found)) or "none",
            )
        self.information = (named or found)[0]
        site_packages = f"{layout.site_packages}/"
        headers = f"include/python{layout.version}/{self.name}/"
        self._schemes = {
            "purelib": site_packages,
            "platlib": site_packages,
            "scripts": "bin/",
            "headers": headers,
            "data": "",
        }
        self._made: set[str] = set()
        self._rows: list[tuple[str, str, str]] = []

    def install(self, done: Installed) -> None:
        recorded = self._recorded()
        for relative, source in self._walk():
            place = self._place(relative)
            if place is None:
                continue
            path, is_script = place
            if is_script:
                with open(source, "rb") as file:
                    self._write(path, with_interpreter(file.read(), self._python), done, executable=True)
                continue
            self._put(source, path, done)
            digest, size = recorded.get(relative) or _digested(source)
            self._rows.append((path, digest, size))
        for entry_point in entry_points(self._text("entry_points.txt")):
            self._write(f"bin/{entry_point.name}", launcher(entry_point, self._python), done, executable=True)
        information = f"{self._layout.site_packages}/{self.information}"
        self._write(f"{information}/INSTALLER", f"{INSTALLER}\n".encode(), done)
        self._write(f"{information}/RECORD", self._record_text(f"{information}/RECORD"), done)

    def _walk(self) -> Iterator[tuple[str, str]]:
        """Yield (path within the wheel, file) in the order of their names: which is always the same."""
        start = len(self._files) + 1
        for directory, names, files in os.walk(self._files):
            names.sort()
            for path in (os.path.join(directory, name) for name in sorted(files)):
                yield path[start:], path

    def _place(self, relative: str) -> tuple[str, bool] | None:
        """Return the path of a file, relative to the prefix, and whether it is a script; None if it is not copied."""
        first, _, rest = relative.partition("/")
        if first == self.information and rest in _GENERATED:
            return None
        if not first.endswith(".data"):
            return f"{self._layout.site_packages}/{relative}", False
        scheme, _, below = rest.partition("/")
        if scheme not in self._schemes or not below:
            raise ArchiveError(f"{self._package.filename}.whl has files of an unknown kind: {relative}")
        return self._schemes[scheme] + below, scheme == "scripts"

    def _put(self, source: str, path: str, done: Installed) -> None:
        """Place a file at its path; an existing file is replaced."""
        full = self._with_directory(path)
        try:
            place_file(source, full, self._kind)
        except FileExistsError:
            self._clear(full, path, done)
            place_file(source, full, self._kind)

    def _with_directory(self, path: str) -> str:
        """Return the full path of a file, and create its directory."""
        full = f"{self._target}/{path}"
        directory = full.rpartition("/")[0]
        if directory not in self._made:
            os.makedirs(directory, exist_ok=True)
            self._made.add(directory)
        return full

    def _clear(self, full: str, path: str, done: Installed) -> None:
        os.unlink(full)
        done.clobbered.append((path, self._package.filename))

    def _write(self, path: str, data: bytes, done: Installed, *, executable: bool = False) -> None:
        full = self._with_directory(path)
        if os.path.lexists(full):
            self._clear(full, path, done)
        mode = 0o777 if executable else 0o666
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        self._rows.append((path, _encoded(hashlib.sha256(data).digest()), str(len(data))))

    def _recorded(self) -> dict[str, tuple[str, str]]:
        """Read digests and sizes from the wheel's own RECORD."""
        rows = csv.reader(io.StringIO(self._text("RECORD")))
        return {row[0]: (row[1], row[2]) for row in rows if len(row) >= 3 and row[1] and row[2]}

    def _text(self, name: str) -> str:
        try:
            with open(os.path.join(self._files, self.information, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as exc:
            raise ArchiveError(f"{name} of {self._package.filename}.whl is not UTF-8") from exc

    def _record_text(self, own: str) -> bytes:
        """Write RECORD: paths relative to site-packages, the file itself last and without digest."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        start = self._layout.site_packages
        inside = f"{start}/"
        for path, digest, size in sorted(self._rows):
            shown = path.removeprefix(inside) if path.startswith(inside) else os.path.relpath(path, start)
            writer.writerow((shown, digest, size))
        writer.writerow((own.removeprefix(inside), "", ""))
        return text.getvalue().encode()


def _distributions(site_packages: Path) -> dict[str, list[Path]]:
    """Return what is installed already, by normalised name."""
    found: dict[str, list[Path]] = {}
    for entry in sorted(os.listdir(site_packages)):
        for end in (".dist-info", ".egg-info"):
            if entry.endswith(end):
                name = canonicalize_name(entry.removesuffix(end).split("-")[0])
                found.setdefault(name, []).append(site_packages / entry)
    return found


def _removed(information: Path, target: Path) -> str:
    """Remove a distribution with the files that it recorded; return its name and version."""
    site_packages = information.parent
    shown = information.name.rpartition(".")[0].replace("-", " ", 1)
    record = information / "RECORD"
    paths = [row[0] for row in csv.reader(io.StringIO(record.read_text("utf-8"))) if row] if record.is_file() else []
    root = os.path.normpath(target) + os.sep
    directories = set()
    for relative in paths:
        path = os.path.normpath(site_packages / relative)
        if path.startswith(root):
            with suppress(OSError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    os.unlink(path)
            directories.add(os.path.dirname(path))
    if information.is_dir() and not information.is_symlink():
        shutil.rmtree(information)
    else:
        information.unlink()
    for path in directories:
        if path.startswith(f"{site_packages}{os.sep}"):
            with suppress(OSError):  # not empty, or removed with one below it
                os.removedirs(path)
    return shown


def _digested(path: str) -> tuple[str, str]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return _encoded(digest.digest()), str(file.tell())


def _encoded(digest: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
