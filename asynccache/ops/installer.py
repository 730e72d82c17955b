"""What bare nodes fetch from the cache's root: a zstd decoder as a wheel, and the engine with a Python of its own.

asynccache/zstd/wheels.json, asynccache/zstd/<wheel>            read by asynccache/boot/zstd.py
asynccache/bundles/<arch>.json, asynccache/bundles/<file>       read by asynccache/boot/bundle.py
<remote_installer_dirname>/<remote_installer>, and .json        the bundle where that is configured, for submitters
"""

from __future__ import annotations

import ast
import asyncio
import gzip
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from asynccache import __version__
from asynccache.boot.bundle import BUNDLES
from asynccache.boot.zstd import WHEELS_KEY
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import digest_file
from asynccache.model.platform import current_architecture
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json

_LISTING: Final = ".json"
_OPTIONAL: Final = {"metaflow"}  # what nodes have in their code package, or do not need
_DECODERS: Final = {"backports-zstd", "zstandard"}
_LEFT_OUT: Final = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|config-[^/]*)(/|$)|\.(a|pyc)$"
)


@dataclass(frozen=True, slots=True)
class Published:
    """What lies in the store now.

    Attributes:
        key: Of the object.
        size: In bytes.
        sha256: Of it.
    """

    key: str
    size: int
    sha256: str

    def as_document(self) -> dict[str, object]:
        """Return it as nodes read it."""
        return {"key": self.key, "size": self.size, "sha256": self.sha256}


async def publish_zstd_wheels(engine: Engine, wheels: Iterable[Path]) -> dict[str, Published]:
    """Put wheels of a zstd decoder where nodes whose Python has none find them.

    Args:
        engine: An open engine on the store.
        wheels: Of `backports.zstd` or `zstandard`, for any Python and machine.

    Returns:
        All that are published now, those of earlier calls included, by Python and architecture: `cp310-linux-64`.

    Raises:
        UsageError: A file is no such wheel.
    """
    new: dict[str, Published] = {}
    for wheel in wheels:
        tags = _tags(wheel)
        digests = await engine.threads.run(digest_file, str(wheel), "md5", "sha256")
        key = f"{PurePosixPath(WHEELS_KEY).parent}/{wheel.name}"
        if await engine.store.head(key) is None:
            await engine.store.upload(key, wheel, digests, if_absent=False)
        published = Published(key, digests.size or 0, digests.sha256 or "")
        new.update(dict.fromkeys(tags, published))
    try:
        known = read_json(await engine.store.get(WHEELS_KEY))
        before = {str(tag): Published(**said) for tag, said in known.items()}
    except (ObjectNotFoundError, ValueError, TypeError, AttributeError):
        before = {}
    merged = {**before, **new}
    text = json.dumps({tag: published.as_document() for tag, published in sorted(merged.items())}, indent=1)
    await engine.store.put(WHEELS_KEY, text.encode())
    return merged


def _tags(wheel: Path) -> list[str]:
    try:
        name, _version, _build, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as exc:
        raise UsageError(f"{wheel} is no wheel ({exc})") from exc
    found = set()
    for tag in tags:
        arch = _architecture(tag.platform)
        if arch is not None and tag.interpreter.startswith("cp"):
            found.add(f"{tag.interpreter}-{arch}")
    if canonicalize_name(name) not in _DECODERS or not found:
        raise UsageError(
            f"{wheel.name} is no wheel of a zstd decoder for Linux or macOS",
            expected="one of backports.zstd or zstandard",
            hint="`pip download --only-binary=:all: --no-deps --python-version 3.10 --platform manylinux2014_x86_64"
            " backports.zstd` fetches one",
        )
    return sorted(found)


def _architecture(platform: str) -> str | None:
    if "musllinux" in platform:
        return None
    if "linux" in platform:
        ends = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "i686": "linux-32"}
    elif platform.startswith("macosx"):
        ends = {"x86_64": "osx-64", "arm64": "osx-arm64"}
    else:
        return None
    return next((arch for end, arch in ends.items() if platform.endswith(end)), None)


def configured_key(settings: Settings, arch: str) -> str | None:
    """Return the key that `remote_installer` and `remote_installer_dirname` give the bundle, None when they do not."""
    if not settings.remote_installer:
        return None
    words = [settings.remote_installer_dirname or "", settings.remote_installer]
    return "/".join(word.strip("/") for word in words if word).replace("{arch}", arch)


async def configured_bundle(engine: Engine, arch: str) -> Published | None:
    """Return the bundle that lies where the settings say, None when none is configured or it is none of ours."""
    key = configured_key(engine.settings, arch)
    return None if key is None else await _listed(engine, key, key + _LISTING)


async def publish_bundle(engine: Engine, *, force: bool = False, configured: bool = False) -> Published:
    """Put this Python with the engine in it where nodes of this architecture find it, unless it is there.

    It is made of this process's own Python and installed distributions, so it is for this machine's architecture and
    for systems whose C library is not older than this one's.

    Args:
        engine: An open engine on the store.
        force: Make it anew.
        configured: Put it where `remote_installer` says, if it says anything.

    Raises:
        UsageError: Something else, such as another program, lies where it is configured.
    """
    arch = current_architecture()
    key, listing = f"{BUNDLES}/asynccache-{__version__}-{arch}.tar.gz", f"{BUNDLES}/{arch}{_LISTING}"
    named = configured_key(engine.settings, arch) if configured else None
    if named is not None:
        key, listing = named, named + _LISTING
    if not force:
        there = await _listed(engine, key, listing)
        if there is not None:
            return there
        if named is not None and await engine.store.head(named) is not None:
            raise UsageError(
                f"{named} lies in the store and is no bundle of asynccache",
                expected="nothing, or what `asynccache installer publish` put there",
                hint="name another object with CONDA_REMOTE_INSTALLER, or replace this one with --force",
            )
    with disk_errors(engine.workspace.path):
        scratch = Path(await engine.threads.run(tempfile.mkdtemp, prefix="asynccache-bundle-"))
    try:
        path = scratch / "bundle.tar.gz"

        def write(stop: Callable[[], bool]) -> None:
            with disk_errors(path):
                _write_bundle(path, stop)

        await engine.threads.work(write)
        digests = await engine.threads.run(digest_file, str(path), "md5", "sha256")
        await engine.store.upload(key, path, digests, if_absent=False, consume=True)
        published = Published(key, digests.size or 0, digests.sha256 or "")
        await engine.store.put(listing, json.dumps(published.as_document()).encode())
        return published
    finally:
        await asyncio.shield(engine.threads.run(shutil.rmtree, scratch, ignore_errors=True))


async def _listed(engine: Engine, key: str, listing: str) -> Published | None:
    """Return the bundle of a key if its listing says so and it is there."""
    try:
        there = Published(**read_json(await engine.store.get(listing)))
    except (ObjectNotFoundError, ValueError, TypeError):
        return None
    return there if there.key == key and await engine.store.head(key) is not None else None


def _write_bundle(path: Path, stop: Callable[[], bool]) -> None:
    with (
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, source in sorted(_members().items()):
            if stop():
                return
            info = tar.gettarinfo(str(source), name)
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            if info.isreg():
                with source.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)


def _members() -> dict[str, Path]:
    """Return path in the bundle -> file here."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = f"lib/{version}/site-packages"
    found = {"bin/python3": (base / "bin" / version).resolve()}
    for path in (base / "lib").glob(f"lib{version}*.so*"):
        found[f"lib/{path.name}"] = path
    library = base / "lib" / version
    for root, names, files in os.walk(library):
        names[:] = sorted(n for n in names if n != "site-packages" and not _LEFT_OUT.search(n))
        for name in files:
            path = Path(root, name)
            inside = path.relative_to(library).as_posix()
            if not _LEFT_OUT.search(inside):
                found[f"lib/{version}/{inside}"] = path
    for distribution in _distributions():
        for file in distribution.files or ():
            located = Path(os.path.normpath(str(distribution.locate_file(file))))
            if ".." not in file.parts and file.suffix != ".pyc" and located.is_file():
                found[f"{site}/{file.as_posix()}"] = located
            elif file.parts[-2:-1] == ("bin",) and file.name == "uv" and located.is_file():
                found["bin/uv"] = located
    import asynccache  # noqa: PLC0415 - its files, also where it is installed for editing

    for name, package in (("asynccache", Path(asynccache.__file__).parent), ("asynccache_cli", _cli())):
        for path in package.rglob("*"):
            inside = path.relative_to(package).as_posix()
            if path.is_file() and "__pycache__" not in inside:
                found[f"{site}/{name}/{inside}"] = path
    return found


def _cli() -> Path:
    import importlib.util  # noqa: PLC0415 - the command line lies above this room and is only looked for

    spec = importlib.util.find_spec("asynccache_cli")
    if spec is None or spec.origin is None:
        raise UsageError("the command line of asynccache is not installed beside it", hint="install asynccache whole")
    return Path(spec.origin).parent


def _imported() -> list[str]:
    """Return the distributions that asynccache imports; what is installed for editing may not declare the latest."""
    import asynccache  # noqa: PLC0415 - its files

    modules = set[str]()
    for package in (Path(asynccache.__file__).parent, _cli()):
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    modules.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.partition(".")[0])
    known = importlib.metadata.packages_distributions()
    return sorted({name for module in modules for name in known.get(module, ())} - _OPTIONAL)


def _distributions() -> list[importlib.metadata.Distribution]:
    """Return what asynccache needs at run time, itself included."""
    waiting, found = ["asynccache", *_imported()], dict[str, importlib.metadata.Distribution]()
    while waiting:
        name = waiting.pop()
        if canonicalize_name(name) in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[canonicalize_name(name)] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return [found[name] for name in sorted(found)]
