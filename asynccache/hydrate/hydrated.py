"""An environment on disk: the options, the result, and using an existing one."""

from __future__ import annotations

import os
from pathlib import Path

from asynccache.hydrate import prefix as places
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.node import building


@dataclass(frozen=True, slots=True)
class HydrateOptions:
    """How to hydrate.

    Attributes:
        force: Create a prefix again even if there is an environment.
        link_scripts: Run the post-link scripts of packages; None to do as the settings say.
        bytecode: Compile Python files; None to do as the settings say.
    """

    force: bool = False
    link_scripts: bool | None = None
    bytecode: bool | None = None


@dataclass(frozen=True, slots=True)
class Hydrated(Documented):
    """An environment on disk.

    Attributes:
        prefix: Its path.
        id: Its ids.
        created: Whether this call created it.
        waited: Whether another process was waited for.
        packed: Whether it came from a pack.
        seconds: Duration of the call.
        bytes: Unpacked size of its packages; 0 if it existed or came from a pack.
        link_type: How files were placed; empty if it existed or came from a pack.
        notes: Notes for the user, one sentence each.
    """

    prefix: Path
    id: EnvID
    created: bool
    waited: bool
    packed: bool
    seconds: float
    bytes: int = 0
    link_type: str = ""
    notes: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.prefix / "bin" / "python"


def use(prefix: Path, env_id: EnvID) -> Path | None:
    """Return the prefix of a complete environment that is wanted at a path, and record that it is used now. Blocking.

    It may have the other one of the two names that steps and `create` give the same environment.
    """
    found = building.use(os.fspath(prefix), places.triple(env_id))
    return None if found is None else Path(found)
