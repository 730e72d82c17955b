"""The environments of this machine as the engine knows them: directories of its settings, ids as values.

Names, markers and the creation of prefixes are those of `asynccache.node`, which bare nodes use as well. All functions
block: call them in a thread.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.identity import EnvID
from asynccache.node import building, environments
from asynccache.node.disk import disk_errors
from asynccache.node.environments import Triple

PrefixKind = Literal["step", "tmp", "builder"]
REGISTRY: Final = "prefixes"


def environments_directory(settings: Settings) -> Path:
    """Return the directory of environments that are created by name."""
    return (settings.environments_dir or settings.cache_dir / "envs").absolute()


def environment_name(env_id: EnvID, kind: PrefixKind) -> str:
    """Return the directory name of an environment."""
    return environments.environment_name(env_id.req_id, env_id.full_id, kind)


def triple(env_id: EnvID) -> Triple:
    """Return the identity of an environment in the format of its marker."""
    return env_id.req_id, env_id.full_id, env_id.arch


def checked_name(name: str) -> str:
    """Return a name that an environment can have.

    Raises:
        UsageError: It is empty, begins with a dot, or contains a slash.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise UsageError("an environment has a name it cannot have", expected="one directory name", found=repr(name))
    return name


def read_marker(prefix: Path) -> EnvID | None:
    """Return which environment a prefix holds; None if it is not complete or not one of ours."""
    found = environments.read_marker(os.fspath(prefix))
    try:
        return None if found is None else EnvID(*found)
    except UsageError:
        return None


def note_use(prefix: Path) -> None:
    """Record that an environment is used now, if that can be written."""
    environments.note_use(os.fspath(prefix))


def lock_path(prefix: Path) -> Path:
    """Return the path of the kernel lock under which a prefix is created and removed."""
    return Path(building.lock_path(os.fspath(prefix)))


def register(settings: Settings, prefix: Path) -> None:
    """Record a prefix outside the environments directory, so that it is listed with the others."""
    if prefix.parent == environments_directory(settings):
        return
    with disk_errors(settings.cache_dir):
        path = registered(settings, prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(os.fsencode(prefix))


def registered(settings: Settings, prefix: Path) -> Path:
    """Return the file that records a prefix."""
    return settings.cache_dir / REGISTRY / building.lock_name(os.fspath(prefix))
