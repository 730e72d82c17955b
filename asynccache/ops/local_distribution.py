"""The installation of conda programs that a team keeps in its store, brought to a workstation (contract, 4.1).

With `conda_local_path` set and not complete, `<local_dist_dirname>/<local_dist>` is fetched and unpacked beside it, and
takes its place whole: the marker file is in it before it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

from asynccache.errors import ArchiveError, ObjectNotFoundError, ResolverMissingError
from asynccache.model.platform import current_architecture
from asynccache.node.disk import disk_errors
from asynccache.node.lock_file import lock_file
from asynccache.ops.opening import Opening
from asynccache.resolve.find_programs import COMPLETE

_LOCK: Final = ".conda-install.lock"


async def install_local_distribution(opening: Opening) -> Path | None:
    """Bring the configured installation to this machine unless it is here.

    Args:
        opening: An engine on the store that has it, opened when it has to be fetched.

    Returns:
        Its directory when this call unpacked it; None when it was here or nothing is configured.

    Raises:
        ResolverMissingError: The store has no such object.
        ArchiveError: It is no tar archive, or would write outside its directory.
        LockTimeoutError: Another process installs it for too long.
        DiskError: The disk is full or cannot be written.
        StoreError: The store cannot be read.
    """
    settings = opening.settings
    key = settings.distribution_key(current_architecture())
    if settings.conda_local_path is None or key is None:
        return None
    root = settings.conda_local_path.expanduser().absolute()
    if await asyncio.to_thread((root / COMPLETE).is_file):
        return None
    engine = await opening.engine()
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
    async with engine.workspace.locks.hold(f"conda-{name}", label=f"the installation of conda in {root}"):
        if await engine.threads.run((root / COMPLETE).is_file):
            return None
        scratch = await engine.threads.run(_scratch, root)
        try:
            archive = scratch / "archive"
            try:
                await engine.store.download(key, archive)
            except ObjectNotFoundError as exc:
                raise ResolverMissingError(
                    f"CONDA_LOCAL_DIST names {key}, which {engine.store.address} has not",
                    hint="put a tar archive of an installation there, or unset CONDA_LOCAL_PATH",
                ) from exc
            source = f"{engine.store.address}/{key}"
            await engine.threads.run(_unpack, archive, scratch / "root", source)
            made = await engine.threads.run(_take_place, scratch / "root", root, settings.lock_timeout)
        finally:
            await engine.threads.certainly(lambda: shutil.rmtree(scratch, ignore_errors=True))
    return root if made else None


def _scratch(root: Path) -> Path:
    with disk_errors(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{root.name}.asynccache-", dir=root.parent))


def _unpack(archive: Path, unpacked: Path, source: str) -> None:
    with disk_errors(unpacked):
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="tar")  # keeps modes; refuses what leads out of the directory
        except (tarfile.TarError, EOFError) as exc:
            raise ArchiveError(f"{source} cannot be unpacked ({exc})") from exc
        marker = {"src": source, "install_time": datetime.now().isoformat()}  # noqa: DTZ005 - local time, as others read
        (unpacked / COMPLETE).write_text(json.dumps(marker), encoding="utf-8")


def _take_place(unpacked: Path, root: Path, timeout: float) -> bool:
    """Put an installation at its place unless another program has done so meanwhile; tell whether it was put there."""
    with disk_errors(root), lock_file(str(root.parent / _LOCK), timeout):
        if (root / COMPLETE).is_file():
            return False
        shutil.rmtree(root, ignore_errors=True)
        unpacked.replace(root)
        return True
