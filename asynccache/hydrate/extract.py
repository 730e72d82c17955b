"""Unpacking conda packages into directories. Blocking: call this in a thread.

The library is the fastest at unpacking `.conda`. For `.tar.bz2`, where decoding takes most of the time, it is no faster
than our own reader, which checks what it reads and uses a second core.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

from rattler.package_streaming import download_and_extract

from asynccache.archive.bound import check_unpacked
from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.root import refuse_links_outside
from asynccache.archive.unpack import unpack
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.hydrate.py_rattler import is_full, offline_client
from asynccache.model.digest import Digests
from asynccache.model.package import Format


def extract_conda(
    archive: Path,
    target: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    stop: Callable[[], bool] | None = None,
    checked: bool = True,
    digests: Digests | None = None,
    cores: int = 1,
) -> Digests:
    """Unpack a conda package, in either format.

    Args:
        archive: The archive, verified by the caller.
        target: Directory to create.
        limits: Limits on what it may use of this machine.
        stop: Called regularly; returns whether to stop.
        checked: Whether it was already read as `archive.check` does; otherwise that is done here.
        digests: Its md5 and sha256, if no one else can have changed it since; None to compute them.
        cores: With 2, bzip2 is decoded while files are written.

    Returns:
        md5 and sha256 of the archive.

    Raises:
        HostileArchiveError: It unpacks to more than the limits allow, or to links that lead out of it.
        ArchiveError: It cannot be unpacked.
        IntegrityError: It changed meanwhile.
        concurrent.futures.CancelledError: `stop` returned True.
    """
    if not checked or archive.name.endswith(Format.TAR_BZ2):
        try:
            return unpack(archive, target, limits=limits, slots=cores, digests=digests, cancelled=stop)
        except ArchiveError as exc:
            if archive.name in str(exc):
                raise
            raise type(exc)(f"{archive.name} cannot be unpacked ({exc})", hint=exc.hint) from exc
    check_unpacked(archive, limits, stop)
    target.mkdir(parents=True, exist_ok=True)
    try:
        # the library's blocking call would hold the interpreter's lock for the whole archive
        sha256, md5 = asyncio.run(download_and_extract(offline_client(), archive.as_uri(), target))
    except Exception as exc:  # the library raises many kinds
        if is_full(exc):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
        raise ArchiveError(f"{archive.name} cannot be unpacked ({exc})", hint="verify the package") from exc
    if not (target / "info" / "index.json").is_file():
        raise ArchiveError(f"{archive.name} has no info/index.json", hint="it is not a conda package")
    _check_tree(os.fspath(target), limits)
    return Digests(md5.hex(), sha256.hex())


def _check_tree(root: str, limits: Limits) -> None:
    """Refuse the content of an archive that was not checked before: too many files, links that lead out of it.

    Raises:
        HostileArchiveError: Which.
    """
    links: dict[bytes, bytes] = {}
    count = 0
    waiting = [os.fsencode(root)]
    start = len(waiting[0]) + 1
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_symlink():
                    links[entry.path[start:]] = os.readlink(entry.path)  # noqa: PTH115
                elif entry.is_dir():
                    waiting.append(entry.path)
    if count > 2 * limits.members:
        raise HostileArchiveError("the archive has too many members", expected=f"at most {limits.members}")
    if links and not limits.links_outside:
        refuse_links_outside(links)
