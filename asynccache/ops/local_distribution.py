"""The installation of conda programs that a team keeps in its store, installed on a workstation (contract, 4.1).

With `conda_local_path` set and not complete, `<local_dist_dirname>/<local_dist>` is fetched and unpacked beside it, and
takes its place whole: the marker file is written before it does. The marker says which object was unpacked, so that a
corrected one is noticed. A directory without a marker belongs to others and is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.errors import ArchiveError, ObjectNotFoundError, ResolverMissingError, StoreError
from asynccache.model.platform import current_architecture
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.node.lock_file import lock_file
from asynccache.ops.opening import Opening
from asynccache.resolve.conda.find_programs import COMPLETE, CONDA_PROGRAMS, runs
from asynccache.runtime.late_loop import in_thread

_LOCK: Final = ".conda-install.lock"
_OBJECT: Final = "object"  # in the marker: the store's version of the unpacked object; other writers leave it out
_USERS: Final = ("envs", "pkgs")  # what accumulates in an installation in use


async def install_local_distribution(opening: Opening) -> Path | None:
    """Install the configured distribution on this machine unless it is installed.

    Args:
        opening: Opens an engine on the store that has it, if it has to be fetched or may have changed.

    Returns:
        Its directory if this call unpacked it; None if it was installed or none is configured.

    Raises:
        ResolverMissingError: The store has no such object, it lacks the program to use, or its directory holds
            something else.
        ArchiveError: It is not a tar archive, or would write outside its directory.
        LockTimeoutError: Another process has been installing it for too long.
        DiskError: The disk is full or cannot be written.
        StoreError: The store cannot be read.
    """
    settings = opening.settings
    key = settings.distribution_key(current_architecture())
    if settings.conda_local_path is None or key is None:
        return None
    root = settings.conda_local_path.expanduser().absolute()
    marker = await in_thread(_marker, root)
    if marker is not None and _OBJECT not in marker:
        return None
    engine = await opening.engine()
    host, store = engine.host, engine.store
    try:
        there = await store.head(key)
    except StoreError:
        if marker is None:
            raise
        return None  # the existing one will do
    if there is None and marker is None:
        raise ResolverMissingError(
            f"the setting local_dist names {key}, which {store.address} has not",
            hint="put a tar archive of an installation there, or unset conda_local_path",
        )
    if there is None:
        return None
    source = f"{store.address}/{key}"
    wanted = {"src": source, _OBJECT: there.etag or str(there.size)}
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
    async with host.workspace.locks.hold(f"conda-{name}", label=f"the installation of conda in {root}"):
        if await host.threads.run(_complete, root, wanted):
            return None
        scratch = await host.threads.run(_scratch, root)
        try:
            archive = scratch / "archive"
            try:
                await store.download(key, archive)
            except ObjectNotFoundError as exc:
                raise ResolverMissingError(f"{source} vanished while it was fetched") from exc
            unpacked = await host.threads.run(_unpack, archive, scratch / "root", source)
            await host.threads.run(_check_programs, unpacked, root, settings, source)
            made = await host.threads.run(_take_place, unpacked, scratch / "old", root, wanted, settings.lock_timeout)
        finally:
            await host.threads.certainly(lambda: shutil.rmtree(scratch, ignore_errors=True))
    return root if made else None


def _marker(root: Path) -> dict[str, object] | None:
    """Return the content of an installation's marker; None if there is no installation.

    Raises:
        ResolverMissingError: The directory is not an installation.
    """
    with disk_errors(root):
        try:
            text = (root / COMPLETE).read_bytes()
        except FileNotFoundError:
            if root.is_dir() and not any(root.iterdir()):
                return None
            if root.is_dir():
                raise ResolverMissingError(
                    f"the setting conda_local_path names {root}, which holds something that is no installation of ours",
                    expected=f"an empty place, or an installation with the file {COMPLETE}",
                    hint="name another directory, or remove what is there",
                ) from None
            return None
        except NotADirectoryError:
            raise ResolverMissingError(
                f"the setting conda_local_path names {root}, which is no directory", hint="name another place"
            ) from None
    try:
        found = read_json(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _complete(root: Path, wanted: dict[str, str]) -> bool:
    """Return whether the wanted installation, or another program's, exists."""
    marker = _marker(root)
    return marker is not None and (_OBJECT not in marker or wanted.items() <= marker.items())


def _scratch(root: Path) -> Path:
    with disk_errors(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{root.name}.asynccache-", dir=root.parent))


def _unpack(archive: Path, unpacked: Path, source: str) -> Path:
    """Unpack an archive; return the directory that has the installation: its one top directory, if it has one."""
    with disk_errors(unpacked):
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="tar")  # keeps modes; refuses what leads out of the directory
        except (tarfile.TarError, EOFError) as exc:
            raise ArchiveError(f"{source} cannot be unpacked ({exc})") from exc
        entries = list(unpacked.iterdir())
        one = entries[0] if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink() else None
    return unpacked if one is None or one.name == "bin" else one


def _check_programs(unpacked: Path, root: Path, settings: Settings, source: str) -> None:
    """Refuse an installation without the program to solve with."""
    asked = settings.conda_dependency_resolver
    wanted: Sequence[str] = CONDA_PROGRAMS if asked is None else [asked] if asked in CONDA_PROGRAMS else []
    if wanted and not any(runs(unpacked / "bin" / name) for name in wanted):
        raise ResolverMissingError(
            f"the setting local_dist names {source}, which has no program to solve with",
            expected=" or ".join(str(root / "bin" / name) for name in wanted),
            found=", ".join(sorted(path.name for path in unpacked.iterdir())[:8]) or "an empty archive",
            hint="put the programs into bin of the archive, or of its one top directory",
        )


def _take_place(unpacked: Path, old: Path, root: Path, wanted: dict[str, str], timeout: float) -> bool:
    """Move an installation into place unless another program has done so meanwhile; return whether it was moved."""
    with disk_errors(root), lock_file(str(root.parent / _LOCK), timeout):
        if _complete(root, wanted):
            return False
        moment = datetime.now().isoformat()  # noqa: DTZ005 - local time, as others read
        (unpacked / COMPLETE).write_text(json.dumps({**wanted, "install_time": moment}), encoding="utf-8")
        if root.exists():
            root.replace(old)
        try:
            unpacked.replace(root)
        except BaseException:
            if old.exists():
                old.replace(root)
            raise
        for name in _USERS:
            _kept(old / name, root / name)
        return True


def _kept(old: Path, new: Path) -> None:
    """Move what accumulated in use into the new installation; files that both have are kept from the new one."""
    for path in old.iterdir() if old.is_dir() else ():
        new.mkdir(exist_ok=True)
        if not os.path.lexists(new / path.name):
            path.replace(new / path.name)
