"""Directories and names of environments on a node, and how one is recognised (contract, section 4.4).

    <environments>/metaflow_<req_id>_<full_id>            of a step
    <environments>/metaflow_builder_<req_id>_<full_id>    a helper for resolving and building
    <environments>/metaflowtmp_<req_id>_<full_id>         `create` without a name
    <environment>/.metaflowenv                            its identity, written last: complete

The modification time of `.metaflowenv` is that of the last use.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from typing import Tuple

from asynccache.errors import DiskError
from asynccache.node.json_text import read_json

Triple = Tuple[str, str, str]
"""(req_id, full_id, arch) of an environment."""

MARKER = ".metaflowenv"
RECEIPT = "_asynccache_receipt.json"
"""File in a task's working directory that says what making its environment took."""
STARTS = {"step": "metaflow_", "tmp": "metaflowtmp_", "builder": "metaflow_builder_"}
"""What the name of an environment begins with, by what it was made for."""
_NAME = re.compile("(?:{})([0-9a-f]{{40}})_([0-9a-f]{{40}})".format("|".join(STARTS.values())))
_SAME = {"step": "tmp", "tmp": "step"}  # kinds that can use each other's environments


def default_cache_directory() -> str:
    """Return the user's cache directory for asynccache."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return os.path.join(base, "asynccache")
    return os.path.expanduser(
        "~/Library/Caches/asynccache" if sys.platform == "darwin" else os.path.join("~", ".cache", "asynccache")
    )


def environments_directory(asked: str | None = None, configured: str | None = None) -> str:
    """Return a writable directory for environments, created if missing.

    It is the requested one, `ASYNCCACHE_ENVIRONMENTS_DIR`, the configured one, or `envs` in `ASYNCCACHE_CACHE_DIR` or
    in the user's cache, as for the engine; without such a cache, one in the working directory.

    Raises:
        DiskError: It cannot be written.
    """
    wanted = asked or os.environ.get("ASYNCCACHE_ENVIRONMENTS_DIR") or configured
    cache = os.environ.get("ASYNCCACHE_CACHE_DIR") or default_cache_directory()
    candidates = [wanted] if wanted else [os.path.join(cache, "envs"), "asynccache_envs"]
    reason = ""
    for candidate in candidates:
        directory = os.path.expanduser(candidate)
        if directory.startswith("~"):
            reason = f"{directory} (this user has no home directory)"
            continue
        directory = os.path.abspath(directory)
        reason = f"{directory} (it cannot be written)"
        try:
            os.makedirs(directory, exist_ok=True)
            if os.access(directory, os.W_OK | os.X_OK):
                return directory
        except OSError as exc:
            reason = f"{directory} ({exc.strerror})"
    raise DiskError(f"no directory for environments: {reason}", hint="name another one")


def environment_name(req_id: str, full_id: str, kind: str) -> str:
    """Return the directory name of an environment, by its purpose: `step`, `tmp` or `builder`."""
    return f"{STARTS[kind]}{req_id}_{full_id}"


def ids_in_name(name: str) -> tuple[str, str] | None:
    """Return (req_id, full_id) from a name that contains them."""
    matched = _NAME.fullmatch(name)
    return (matched.group(1), matched.group(2)) if matched else None


def find_complete(prefix: str, env: Triple) -> str | None:
    """Return the path of a complete environment that is wanted at a prefix; None if it has to be created.

    That is the prefix itself or, if its name contains the environment's ids, the directory beside it with the other
    name: a step uses what `create` created, and vice versa.
    """
    directory, name = os.path.split(prefix)
    names = {kind: environment_name(env[0], env[1], kind) for kind in _SAME}
    others = [os.path.join(directory, names[_SAME[kind]]) for kind in _SAME if names[kind] == name]
    return next((path for path in [prefix, *others] if read_marker(path) == env), None)


def read_marker(prefix: str) -> Triple | None:
    """Return which environment a prefix holds; None if it is not complete or not one of ours."""
    try:
        with open(os.path.join(prefix, MARKER), "rb") as file:
            req_id, full_id, arch = read_json(file.read().decode("ascii"))
    except (OSError, ValueError, TypeError):
        return None
    return str(req_id), str(full_id), str(arch)


def write_marker(prefix: str, env: Triple, *, sync: bool = False) -> None:
    """Mark an environment complete; with `sync`, flush the marker to disk.

    Raises:
        OSError: It cannot be written.
    """
    path = os.path.join(prefix, MARKER)
    with open(path + ".new", "w", encoding="ascii") as file:
        json.dump(list(env), file)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    os.replace(path + ".new", path)


def note_use(prefix: str) -> None:
    """Record that an environment is used now, if that can be written."""
    with contextlib.suppress(OSError):
        os.utime(os.path.join(prefix, MARKER))
