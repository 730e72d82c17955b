"""Putting a file of the package directory into a prefix: as a copy-on-write clone, as a hard link, or as a copy.

Which of them a file system can do is found by trying, once for each pair of directories.
"""
# a Path for each of thousands of files costs more than the file:
# ruff: noqa: PTH108, PTH110, PTH113, PTH114, PTH118, PTH123

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

LinkType = Literal["clone", "hardlink", "copy"]
_FICLONE: Final = 0x40049409  # ioctl_ficlone(2)


def best_link_type(source: Path, target: Path) -> LinkType:
    """Return the cheapest way to place files of one directory in another. Blocking.

    Args:
        source: Directory of packages; may be read-only.
        target: Directory for environments; must be writable.

    Raises:
        OSError: `target` cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".asynccache-try-", dir=target) as scratch:
        sample = _sample(source) or os.path.join(scratch, "sample")
        if not os.path.exists(sample):
            with open(sample, "wb") as file:
                file.write(b"sample")
        for kind in ("clone", "hardlink"):
            with suppress(OSError):
                _PLACE[kind](sample, os.path.join(scratch, kind))
                return kind
    return "copy"


def _sample(source: Path) -> str | None:
    """Return any file below a directory of packages."""
    for directory, names, files in os.walk(source):
        names[:] = [n for n in names if not n.startswith(".")][:8]
        for name in files:
            path = os.path.join(directory, name)
            if not name.endswith(".lock") and os.path.isfile(path) and not os.path.islink(path):
                return path
    return None


def place_file(source: str, target: str, kind: LinkType) -> None:
    """Place one file at a path that does not exist. Blocking.

    Raises:
        FileExistsError: The path exists.
        OSError: It cannot be made.
    """
    try:
        _PLACE[kind](source, target)
    except FileExistsError:
        raise
    except OSError:
        # too many links, or another mount
        with suppress(FileNotFoundError):
            os.unlink(target)
        _copy(source, target)


def _clone(source: str, target: str) -> None:
    if sys.platform != "linux":
        raise OSError("not supported")
    with open(source, "rb") as reader, open(target, "xb") as writer:
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        os.fchmod(writer.fileno(), os.fstat(reader.fileno()).st_mode & 0o777)


def _copy(source: str, target: str) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    shutil.copyfile(source, target, follow_symlinks=False)
    shutil.copymode(source, target, follow_symlinks=False)


_PLACE: Final[dict[str, Callable[[str, str], None]]] = {"clone": _clone, "hardlink": os.link, "copy": _copy}
