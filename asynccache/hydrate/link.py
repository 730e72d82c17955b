"""Linking extracted conda packages into a directory, with py-rattler: all of an environment in one go.

The library is given a directory of symbolic links, one per package. So it writes its lock files there and not among the
packages, which may be read-only and in several directories, and the choice between two packages of one name is already
made.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rattler import PackageRecord, RepoDataRecord, install
from rattler.config import Config
from rattler.package_cache import PackageCache, ValidationMode
from rattler.platform import Subdir

from asynccache.errors import DiskError, HydrationError
from asynccache.hydrate.extracted import Extracted
from asynccache.hydrate.place import LinkType
from asynccache.hydrate.py_rattler import is_full, offline_client
from asynccache.model.dataclass import dataclass
from asynccache.model.package import parse_stem
from asynccache.model.url import redacted
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.runtime.threads import Threads

_VIEW: Final = ".asynccache-view"
CLOBBERED: Final = "__clobbers__"  # where the library puts files whose path another package has taken
_CONFIGS: Final[dict[LinkType, str]] = {
    "clone": "allow-hard-links = false\nallow-ref-links = true",
    "hardlink": "allow-hard-links = true\nallow-ref-links = false",
    "copy": "allow-hard-links = false\nallow-ref-links = false",
}


@dataclass(frozen=True, slots=True)
class Clobbered:
    """A path that several packages have.

    Attributes:
        path: Relative to the prefix.
        package: The package whose file is not at that path.
    """

    path: str
    package: str


def check_prefix(packages: Sequence[Extracted], prefix: str) -> None:
    """Refuse a prefix that does not fit into a binary file of a package.

    Raises:
        HydrationError: It does not fit; the message names the package, the file, and the longest possible prefix.
    """
    length = len(os.fsencode(prefix))
    for extracted in packages:
        limit = extracted.contents.shortest_placeholder
        if limit is not None and length > limit:
            raise HydrationError(
                f"the prefix {prefix} is too long for {extracted.contents.shortest_in} of {extracted.package.filename}",
                expected=f"at most {limit} bytes",
                found=length,
                hint="choose a shorter --prefix or a shorter environments_dir",
            )


async def link_conda(
    threads: Threads, packages: Sequence[Extracted], target: Path, prefix: str, arch: str, kind: LinkType
) -> list[Clobbered]:
    """Link packages into a directory. This is not interrupted halfway: a cancelled caller waits until it is done.

    Args:
        threads: Threads to work in.
        packages: Conda packages.
        target: Directory for the files.
        prefix: The path that is written into them.
        arch: conda platform of the environment.
        kind: How files are placed.

    Returns:
        Paths that several packages have, in order.

    Raises:
        HydrationError: A package cannot be linked.
        DiskError: The disk is full or cannot be written.
    """
    return await threads.run(_link, packages, target, prefix, arch, kind)


def _link(packages: Sequence[Extracted], target: Path, prefix: str, arch: str, kind: LinkType) -> list[Clobbered]:
    view = target / _VIEW  # is removed with the target if this process is killed
    try:
        with disk_errors(view):
            view.mkdir(parents=True)
            for extracted in packages:
                (view / extracted.package.filename).symlink_to(extracted.path.absolute())
        try:
            asyncio.run(
                install(
                    [_record(extracted) for extracted in packages],
                    target,
                    package_cache=PackageCache.new_layered([view], validation_mode=ValidationMode.skip()),
                    installed_packages=[],
                    platform=Subdir(arch),
                    execute_link_scripts=False,
                    show_progress=False,
                    client=offline_client(),  # the default one opens the user's credentials
                    alternative_target_prefix=prefix,
                    config=Config.from_toml(_CONFIGS[kind]),
                )
            )
        except Exception as exc:  # the library has many kinds
            if is_full(exc):
                raise DiskError(f"the disk of {target} is full", hint="free some space") from exc
            reason = " / ".join(str(exc).replace("Caused by: ", "").splitlines())
            raise HydrationError(f"the packages cannot be linked into {target} ({reason})") from exc
        with disk_errors(target):
            return _finished_metadata(packages, target, view)
    finally:
        shutil.rmtree(view, ignore_errors=True)


def _record(extracted: Extracted) -> RepoDataRecord:
    """Return the record of a package for `conda-meta`: its published address and digests, whatever was extracted."""
    package = extracted.package
    try:
        index = PackageRecord.from_index_json(
            extracted.path / "info" / "index.json", md5=package.published_hash, sha256=extracted.sha256
        )
        parse_stem("conda", f"{index.name.normalized}-{index.version}-{index.build}")  # a file is named after it
        address = redacted(package.url)
        channel = address.rsplit("/", 2)[0] + "/"
        return RepoDataRecord(index, package.filename + package.url_format, address, channel)
    except Exception as exc:  # the library has many kinds
        raise HydrationError(f"info/index.json of {package.filename} cannot be read ({exc})") from exc


def _finished_metadata(packages: Sequence[Extracted], target: Path, view: Path) -> list[Clobbered]:
    """Name the packages' real directories in `conda-meta`, make it readable to all, and find clobbered paths."""
    clobbered = []
    for extracted in packages:
        path = target / "conda-meta" / f"{extracted.package.filename}.json"
        text = path.read_bytes()
        if CLOBBERED.encode() in text:
            clobbered += _clobbered(read_json(text), extracted.package.filename)
        shown, real = (os.fsencode(p / extracted.package.filename) for p in (view, extracted.path.absolute().parent))
        changed = path.with_suffix(".new")
        changed.write_bytes(text.replace(shown, real))  # created with the usual mode, unlike the library's
        changed.replace(path)
    return sorted(clobbered, key=lambda c: (c.path, c.package))


def _clobbered(record: dict[str, Any], filename: str) -> list[Clobbered]:
    return [
        Clobbered(str(entry["original_path"]), filename)
        for entry in record.get("paths_data", {}).get("paths", [])
        if entry.get("original_path") and str(entry["_path"]).startswith(CLOBBERED)
    ]
