"""Environments that another program has created on this machine, used in place and never changed.

metaflow-netflixext creates them beside those of the conda program, with the same names and the same marker, which it
writes last (contract, section 4.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError
from asynccache.hydrate import prefix as places
from asynccache.model.identity import EnvID
from asynccache.node.environments import MARKER
from asynccache.node.user import others_can_write
from asynccache.resolve.conda.places import conda_environments


def other_prefix(settings: Settings, env_id: EnvID, environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the prefix of a complete environment of another program; None if there is none. Blocking.

    One that other users could have written is not used, nor is any if the setting `trust` requires digests: the other
    program compares none.
    """
    if settings.trust == "require":
        return None
    directories: list[Path] = []
    with suppress(AsyncCacheError):  # an unreadable file of another program is no reason to fail
        directories = conda_environments(settings, environ)
    for directory in directories:
        for kind in ("step", "tmp"):
            prefix = directory / places.environment_name(env_id, kind)
            if places.read_marker(prefix) == env_id and _is_own(prefix):
                return prefix
    return None


def _is_own(prefix: Path) -> bool:
    try:
        return not any(others_can_write(path.stat()) for path in (prefix, prefix / MARKER))
    except OSError:
        return False
