"""File systems without file locks: what they answer, in this process and in others."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

LOCK_FAILURES = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO, errno.EBADF, errno.EACCES)
SITE = """
import fcntl


def refuse(descriptor, *words):
    raise OSError({failure}, {text!r})


def fcntl_of(descriptor, command, *words, real=fcntl.fcntl):
    if command in {{fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW}}:
        refuse(descriptor)
    return real(descriptor, command, *words)


fcntl.flock = fcntl.lockf = refuse
fcntl.fcntl = fcntl_of
"""


def without_file_locks(monkeypatch: pytest.MonkeyPatch, failure: int = errno.ENOLCK) -> None:
    """Let every file lock of this process fail with that error."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(fcntl, "flock", refuse)


def site_without_file_locks(directory: Path, failure: int = errno.ENOLCK) -> Path:
    """Return a directory that, on the search path of a Python, makes its file locks fail with that error."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sitecustomize.py").write_text(SITE.format(failure=failure, text=os.strerror(failure)))
    return directory
