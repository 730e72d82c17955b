"""Metaflow's configuration: variables, the project's file, the user's file; and the root derived from it.

Metaflow's own reader accepts keys with `METAFLOW_` only; the documentation of its extension shows them without, so both
are accepted, the first kind taking precedence. Python 3.7, standard library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asynccache.node.json_text import read_json
from asynccache.node.settings_table import SETTINGS
from asynccache.node.store_kinds import DATASTORES, KINDS

_BARE = "CONDA_"


class Said(NamedTuple):
    """A configured value.

    Attributes:
        raw: Text, or a value of a file; None if explicitly unset.
        where: The variable, or the file's path.
        key: The key in the file; empty for a variable.
    """

    raw: Any
    where: str
    key: str = ""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.where}:{self.key}" if self.key else self.where


class MetaflowConfiguration:
    """Metaflow's configuration.

    Args:
        environ: Environment variables.
        tables: (path, content) of its files, in order of precedence.

    Attributes:
        bare: Keys without `METAFLOW_` that are accepted.
    """

    def __init__(self, environ: Mapping[str, str], tables: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self.environ = environ
        self.tables = tables
        names = {row.metaflow for row in SETTINGS if not row.core} | {root_name(kind) for kind in DATASTORES}
        found = {key for _path, table in tables for key in table if key.startswith(_BARE) and key in names}
        self.bare = sorted(key for key in found if not any("METAFLOW_" + key in table for _path, table in tables))

    def variable(self, name: str) -> Said | None:
        """Return the value of a name's variable, None if it is not set."""
        key = "METAFLOW_" + name
        return Said(self.environ[key], key) if key in self.environ else None

    def in_files(self, name: str) -> Said | None:
        """Return the value of a name in the files; None if none has it, or a variable overrides them."""
        if "METAFLOW_" + name in self.environ:
            return None
        for key in ("METAFLOW_" + name, name):
            if key == name and name not in self.bare:
                return None
            for path, table in self.tables:
                if key in table:
                    return Said(table[key], path, key)
        return None

    def said(self, name: str) -> Said | None:
        """Return the value of a name from its variable or the files."""
        return self.variable(name) or self.in_files(name)

    def default_root(self, datastore: str) -> Said | None:
        """Return the root below a datastore's root, None if that is not set."""
        said = self.said("DATASTORE_SYSROOT_" + datastore.upper())
        if said is None or not said.raw:
            return None
        return said._replace(raw=root_below(said.raw) if isinstance(said.raw, str) else said.raw)


def root_name(datastore: str) -> str:
    """Return the name of a datastore's root of the cache, without `METAFLOW_`."""
    return f"CONDA_{datastore.upper()}ROOT"


def root_below(sysroot: str) -> str:
    """Return the root of the cache below the root of a datastore."""
    return sysroot.rstrip("/") + "/conda_env"


def with_scheme(root: str, datastore: str) -> str:
    """Return a root that cannot be mistaken for a directory: Metaflow writes Azure's without a scheme."""
    kind = KINDS.get(datastore)
    if kind is None or not kind.bare or "://" in root:
        return root
    return f"{kind.schemes[0]}://{root.strip('/')}"


def metaflow_tables(environ: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Read Metaflow's files where Metaflow looks for them: `.metaflow` in or above the current directory,
    `METAFLOW_HOME`, the profile.

    Raises:
        ValueError: A file cannot be read, or the profile does not exist; the message says which.
    """
    home = environ.get("METAFLOW_HOME", "~/.metaflowconfig")
    profile = environ.get("METAFLOW_PROFILE")
    path = os.path.expanduser(os.path.join(home, f"config_{profile}.json" if profile else "config.json"))
    user = _table(path)
    if profile and user is None:
        raise ValueError(f"the profile {profile!r} that METAFLOW_PROFILE names does not exist in {home}")
    project = _project_file()
    own = _table(project) if project else None
    return [(name, table) for name, table in ((project, own), (path, user)) if table is not None]


def _project_file() -> str:
    try:
        place = os.getcwd()
    except OSError:  # it was removed
        return ""
    while not os.path.isdir(os.path.join(place, ".metaflow")):
        above = os.path.dirname(place)
        if above == place:
            return ""
        place = above
    return os.path.join(os.path.realpath(os.path.join(place, ".metaflow")), "config.json")


def _table(path: str) -> dict[str, Any] | None:
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            table = read_json(file.read())
    except (OSError, ValueError) as exc:
        raise ValueError(f"Metaflow's configuration file {path} cannot be read ({exc})") from exc
    if not isinstance(table, dict):
        raise ValueError(f"Metaflow's configuration file {path} is wrong: expected a JSON object")  # noqa: TRY004 - as above
    return table
