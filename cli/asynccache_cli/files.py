"""Writing files so that readers find the new or the old content, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from asynccache.errors import DiskError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        DiskError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise DiskError(f"{path} cannot be written ({exc.strerror})", hint="name another file") from exc
