"""Converting any exception into a failure that can be shown, of our own family.

A seam maps what its library raises. This is for what no seam has mapped: a full disk at an unexpected place, groups of
exceptions, and defects, for which a report is written that contains the traceback without credentials.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from asynccache import __version__
from asynccache.errors import AsyncCacheError, ConfigurationError, DefectError, PartialFailureError, UsageError
from asynccache.model.url import redacted
from asynccache.node.disk import FULL, disk_error

_DISK: Final = FULL | {
    errno.ENOENT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.EFBIG,
}  # fmt: skip
# compiled for a report, which few processes write
_HIDDEN: Final = r"(?i)SECRET|TOKEN|PASSW|AUTH|CREDENTIAL|_KEY$|_SAS$"
_HEADERS: Final = r"(?i)\b(authorization|x-amz-security-token|cookie)\b(['\"]?\s*[:=]\s*).*"
_reports: dict[tuple[str, str], str | None] = {}  # a defect that affects every package is reported once per process


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group, and of the groups in it; an exception that is not a group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def as_failure(error: BaseException) -> AsyncCacheError:
    """Return an exception as a failure with a sentence and an exit code.

    Our own is returned as it is; for a group, its only cause or all of them; a failure of local files becomes a
    `DiskError`; everything else is a defect of asynccache, and a file with the traceback is written for it.
    """
    found = {str(failure): failure for failure in (_failure(leaf, error) for leaf in leaves(error))}
    if len(found) == 1:
        return next(iter(found.values()))
    numbered = {f"cause {number}": failure for number, failure in enumerate(found.values(), 1)}
    return PartialFailureError(f"it failed for {len(numbered)} reasons", numbered)


def _failure(error: BaseException, whole: BaseException) -> AsyncCacheError:
    """Return the failure for one leaf."""
    if isinstance(error, AsyncCacheError):
        return error
    if isinstance(error, FileNotFoundError) and not _has_current_directory():
        failure: AsyncCacheError = UsageError(
            "the current directory does not exist any more", hint="change to another directory"
        )
    elif isinstance(error, RuntimeError) and "home directory" in str(error):  # `~what pathlib says of `~`~`
        failure = ConfigurationError(
            "this user has no home directory", hint="set HOME, or name the directory, such as ASYNCCACHE_CACHE_DIR"
        )
    elif isinstance(error, OSError) and error.errno in _DISK:
        named = error.filename
        failure = disk_error(os.fsdecode(named) if isinstance(named, str | bytes) else None, error)
    else:
        failure = _defect(error, whole)
    failure.__cause__ = error
    return failure


def _has_current_directory() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _defect(error: BaseException, whole: BaseException) -> DefectError:
    import traceback  # noqa: PLC0415 - only imported for a defect

    kind = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}asynccache" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "no place"
    if (kind, place) not in _reports:
        _reports[kind, place] = _write_report("".join(traceback.format_exception(whole)))
    report = _reports[kind, place]
    hint = f"please report it with the file {report}" if report else "run again with --debug and report what it shows"
    return DefectError(f"this is a defect of asynccache ({kind} at {place})", report=report, hint=hint)


def _write_report(text: str) -> str | None:
    """Write a report that only this user can read; return its path, None if nothing can be written."""
    import platform  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    head = f"asynccache {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    try:
        handle, path = tempfile.mkstemp(prefix="asynccache-defect-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + without_secrets(text))
    except OSError:
        return None
    return path


def without_secrets(text: str) -> str:
    """Return text without credentials: those in URLs and headers, and the values of variables named like secrets."""
    for name, value in os.environ.items():
        if re.search(_HIDDEN, name):
            for secret in {value, *re.findall(r'"([^"]+)"', value)}:
                if len(secret) >= 4:
                    text = text.replace(secret, "***")
    return re.sub(_HEADERS, r"\1\2***", redacted(text))
