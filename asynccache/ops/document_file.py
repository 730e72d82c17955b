"""The document of an environment in a file that somebody names."""

from __future__ import annotations

from pathlib import Path

from asynccache.model.environment import ResolvedEnvironment
from asynccache.node.disk import input_error


def read_document(path: Path, arch: str | None) -> ResolvedEnvironment:
    """Read an environment's document from a file. Blocking.

    Args:
        path: The file.
        arch: Architecture that it must be for; None for whatever it is for.

    Raises:
        ObjectNotFoundError: There is no such file.
        UsageError: It cannot be read, is no document, or is for another architecture.
    """
    from asynccache.resolve.formats import document  # noqa: PLC0415 - looking up does without
    from asynccache.resolve.requests.source_position import SourcePosition  # noqa: PLC0415

    try:
        data = path.read_bytes()
    except OSError as exc:
        raise input_error(path, exc) from exc
    return document.read_document(data, SourcePosition(str(path)), arch)
