"""Listing a directory tree in the order of an object store, without walking directories that are not requested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from asynccache.store.base import ObjectInfo


def walk(root: Path, prefix: str, start_after: str, hidden: str) -> Iterator[ObjectInfo]:
    """Yield the objects below `root` in ascending order of their keys. Blocking.

    Directories are read whole, one per level at a time; those that cannot contain a wanted key are not opened. Files
    whose name cannot be part of a key are left out, and links to directories are not followed.

    Args:
        root: The store's root; nothing is found if it does not exist.
        prefix: As in `Store.scan`.
        start_after: As in `Store.scan`.
        hidden: Name of a directory directly below `root` that holds no objects.

    Raises:
        OSError: A directory cannot be read.
    """
    directory = prefix.rpartition("/")[0]
    segments = directory.split("/") if directory else []
    # a file system takes `a//b` for `a/b`; entries get the name that was requested
    if any(part in {".", ".."} or "\0" in part for part in segments) or segments[:1] in ([""], [hidden]):
        return
    yield from _below(str(root / directory), f"{directory}/" if directory else "", prefix, start_after, hidden)


def _below(path: str, base: str, prefix: str, start_after: str, hidden: str) -> Iterator[ObjectInfo]:
    for name, entry in _entries(path, base, prefix, start_after):
        if not base and entry.name == hidden:
            continue
        if name.endswith("/"):
            yield from _below(entry.path, base + name, prefix, start_after, hidden)
            continue
        try:
            status = entry.stat()
        except FileNotFoundError:  # removed meanwhile
            continue
        yield object_info(base + name, status)


def _entries(path: str, base: str, prefix: str, start_after: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return entries that may contain wanted keys; a directory's name ends in a slash, which sorts it where its keys
    belong.
    """
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                is_directory = entry.is_dir(follow_symlinks=False)
                if not is_directory and not entry.is_file():
                    continue
                name = entry.name + "/" if is_directory else entry.name
                key = base + name
                if not (key.startswith(prefix) or (is_directory and prefix.startswith(key))):
                    continue
                if key <= start_after and not (is_directory and start_after.startswith(key)):
                    continue
                if _can_be_in_a_key(entry.name):
                    found.append((name, entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found.sort(key=lambda item: item[0])  # code points sort as their UTF-8 bytes do
    return found


def _can_be_in_a_key(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return False
    return "\n" not in name and "\r" not in name


def object_info(key: str, status: os.stat_result) -> ObjectInfo:
    """Return an object's properties from a file's status."""
    # publishing sets a fresh modification time on a fresh inode
    etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'
    return ObjectInfo(key, status.st_size, etag, status.st_mtime)
