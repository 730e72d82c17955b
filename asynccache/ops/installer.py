"""What bare nodes fetch from the store first: a zstd decoder as a wheel, and the engine with a Python of its own.

asynccache/zstd/wheels.json, asynccache/zstd/<wheel>            read by asynccache/boot/zstd.py
asynccache/bundles/<arch>.json, asynccache/bundles/<file>       read by asynccache/boot/bundle.py
<remote_installer_dirname>/<remote_installer>, and .json        the bundle where that is configured, for submitters

The submitting machine vouches for what nodes run by giving its sha256: of what it has published itself, and of what the
setting `node_digests` names.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from asynccache import __version__
from asynccache.boot.bundle import BUNDLES
from asynccache.boot.zstd import WHEELS_KEY
from asynccache.engine.host import Host
from asynccache.engine.verified import Verified
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import digest_file
from asynccache.model.document import Documented
from asynccache.model.platform import current_architecture
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.node.store_kinds import KINDS
from asynccache.runtime.scratch import scratch_directory
from asynccache.store.base import Store

_LISTING: Final = ".json"
_MADE: Final = "nodes"  # sha256 of what this machine published for nodes
_LEVEL: Final = 3  # gzip level; half the time of 6 for a file that is 5 % larger, while a user waits for a launch
_BUNDLES_MADE: Final = "bundles"  # likewise: the files of a bundle -> sha256 and size of it
_OPTIONAL: Final = {"metaflow"}  # distributions that nodes have in their code package, or do not need
_DECODERS: Final = {"backports-zstd", "zstandard"}
_LEFT_OUT: Final = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|config-[^/]*)(/|$)|\.(a|pyc)$"
)


@dataclass(frozen=True, slots=True)
class Published(Documented):
    """What is in the store now.

    Attributes:
        key: Key of the object.
        size: In bytes.
        sha256: Its sha256.
    """

    key: str
    size: int
    sha256: str


async def publish_zstd_wheels(host: Host, store: Store, wheels: Iterable[Path]) -> dict[str, Published]:
    """Publish wheels of a zstd decoder where nodes whose Python has none find them.

    Args:
        host: Settings, threads and budgets to work with.
        store: An open store.
        wheels: Wheels of `backports.zstd` or `zstandard`, for any Python and architecture.

    Returns:
        All published wheels, including earlier ones, by Python and architecture: `cp310-linux-64`.

    Raises:
        UsageError: A file is not such a wheel.
    """
    new: dict[str, Published] = {}
    for wheel in wheels:
        tags = _tags(wheel)
        digests = await host.threads.run(digest_file, str(wheel), "md5", "sha256")
        sha256 = digests.sha256 or ""
        key = f"{PurePosixPath(WHEELS_KEY).parent}/{sha256[:16]}/{wheel.name}"
        if await store.head(key) is None:
            await store.upload(key, wheel, digests, if_absent=False)
        published = Published(key, digests.size or 0, sha256)
        new.update(dict.fromkeys(tags, published))
    merged = {**await _listed_decoders(store), **new}
    text = json.dumps({tag: published.as_document() for tag, published in sorted(merged.items())}, indent=1)
    await store.put(WHEELS_KEY, text.encode())
    await _remember(host, *new.values())
    return merged


async def vouched_decoders(host: Host, store: Store) -> dict[str, Published]:
    """Return the published decoders that nodes may load, by Python and architecture."""
    vouched = await _vouched(host)
    return {tag: each for tag, each in (await _listed_decoders(store)).items() if each.sha256 in vouched}


async def _listed_decoders(store: Store) -> dict[str, Published]:
    try:
        known = read_json(await store.get(WHEELS_KEY))
        return {str(tag): Published(**said) for tag, said in known.items()}
    except (ObjectNotFoundError, ValueError, TypeError, AttributeError):
        return {}


async def _vouched(host: Host) -> set[str]:
    """Return the sha256 of everything that this machine published for nodes, or that the settings name."""
    made = await host.threads.run(lambda: Verified.own(host.settings.cache_dir).known(_MADE))
    return {*made, *(digest.removeprefix("sha256:") for digest in host.settings.node_digests)}


async def _remember(host: Host, *published: Published) -> None:
    entries = [(each.sha256, str(each.size)) for each in published]
    await host.threads.run(lambda: Verified.own(host.settings.cache_dir).add(_MADE, entries))


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


async def configured_bundle(host: Host, store: Store, arch: str) -> Published | None:
    """Return the bundle at the configured key; None if none is configured or it is not one of ours."""
    key = host.settings.bundle_key(arch)
    return None if key is None else await _listed(store, key + _LISTING, key)


async def vouched_bundle(host: Host, store: Store, arch: str) -> Published | None:
    """Return the bundle that nodes of an architecture may run: the configured or named one, else one built on this
    machine if possible.

    Returns:
        None if there is none that this machine made or that the setting `node_digests` names.
    """
    vouched = await _vouched(host)
    for found in (
        await configured_bundle(host, store, arch),
        await _listed(store, f"{BUNDLES}/{arch}{_LISTING}"),
    ):
        if found is not None and found.sha256 in vouched:
            return found
    return await publish_bundle(host, store) if arch == current_architecture() else None


async def publish_bundle(host: Host, store: Store, *, force: bool = False, configured: bool = False) -> Published:
    """Publish this Python with the engine where nodes of this architecture find it, unless it exists.

    It is made of this process's own Python and installed distributions, so it is for this machine's architecture and
    for systems whose C library is not older than this one's. Its key has its digest, so none replaces a bundle that
    manifests of deployed flows name.

    Args:
        host: Settings, threads and budgets to work with.
        store: An open store.
        force: Build it even if one exists, and replace the object at the configured key.
        configured: Put it where `remote_installer` says, if set, and make it the one for nodes without a manifest.

    Raises:
        UsageError: The configured key holds something else, such as another program.
    """
    arch = current_architecture()
    named = host.settings.bundle_key(arch) if configured else None
    if named is not None and not force:
        there = await _listed(store, named + _LISTING, named)
        if there is not None:
            return there
        if await store.head(named) is not None:
            raise UsageError(
                f"{named} is in the store but is not a bundle of asynccache",
                expected="nothing, or what `asynccache installer publish` put there",
                hint="name another object with the setting remote_installer, or replace this one with --force",
            )
    listing = (named or f"{BUNDLES}/{arch}") + _LISTING
    listed = await _listed(store, listing)
    memory = await host.threads.run(Verified.own, host.settings.cache_dir)
    fingerprint = await host.threads.run(_fingerprint)
    known = (await host.threads.run(memory.known, _BUNDLES_MADE)).get(fingerprint)
    if known is not None and named is None and not force:
        sha256, _space, size = known.partition(" ")
        made = Published(_bundle_key(arch, sha256), int(size), sha256)
        if made == listed or (not configured and await store.head(made.key) is not None):
            return made
    async with scratch_directory("bundle-", host.workspace.path) as scratch:
        path = scratch / "bundle.tar.gz"
        await host.threads.work(lambda stop: _write_bundle(path, stop))
        digests = await host.threads.run(digest_file, str(path), "md5", "sha256")
        sha256 = digests.sha256 or ""
        made = Published(named or _bundle_key(arch, sha256), digests.size or 0, sha256)
        await store.upload(made.key, path, digests, if_absent=False, consume=True)
        if configured or force or listed is None:
            await store.put(listing, json.dumps(made.as_document()).encode())
        await _remember(host, made)
        await host.threads.run(memory.add, _BUNDLES_MADE, [(fingerprint, f"{sha256} {made.size}")])
        return made


def _bundle_key(arch: str, sha256: str) -> str:
    return f"{BUNDLES}/asynccache-{__version__}-{arch}-{sha256[:16]}.tar.gz"


def _fingerprint() -> str:
    """Return a text that changes whenever a file of the bundle does."""
    digest = hashlib.sha256()
    for name, path in sorted(_members().items()):
        about = path.stat()
        digest.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return digest.hexdigest()


async def _listed(store: Store, listing: str, key: str | None = None) -> Published | None:
    """Return the bundle that a listing names if it exists, under one key or any."""
    try:
        there = Published(**read_json(await store.get(listing)))
        present = key in {None, there.key} and await store.head(there.key) is not None
    except (ObjectNotFoundError, UsageError, ValueError, TypeError):
        return None
    return there if present else None


def _write_bundle(path: Path, stop: Callable[[], bool]) -> None:
    with (
        disk_errors(path),
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_LEVEL, mtime=0, filename="") as packed,
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
    """Return path in the bundle -> local file."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = f"lib/{version}/site-packages"
    found = {"bin/python3": (base / "bin" / version).resolve()}
    for path in (base / "lib").glob(f"lib{version}*.so*"):
        if (
            path.resolve().parent != path.parent or not path.is_symlink()
        ):  # otherwise it is another name of a file beside it
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
    import asynccache  # noqa: PLC0415 - its files, even if it is an editable install

    for name, package in (("asynccache", Path(asynccache.__file__).parent), ("asynccache_cli", _cli())):
        for path in package.rglob("*"):
            inside = path.relative_to(package).as_posix()
            if path.is_file() and "__pycache__" not in inside:
                found[f"{site}/{name}/{inside}"] = path
    return found


def _cli() -> Path:
    import importlib.util  # noqa: PLC0415 - the command line is above this room and is only located

    spec = importlib.util.find_spec("asynccache_cli")
    if spec is None or spec.origin is None:
        raise UsageError("the command line of asynccache is not installed next to it", hint="install asynccache whole")
    return Path(spec.origin).parent


def _imported() -> list[str]:
    """Return the distributions that asynccache imports; the metadata of an editable install may be out of date."""
    import asynccache  # noqa: PLC0415 - its files

    modules = set[str]()
    for package in (Path(asynccache.__file__).parent, _cli()):
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    modules.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.partition(".")[0])
    modules -= {kind.identity for kind in KINDS.values()}
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
