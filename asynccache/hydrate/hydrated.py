"""An environment on disk: how it is asked for, what is said of it, and using one that is there."""

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
        force: Make a prefix again although there is an environment.
        link_scripts: Run the scripts that packages bring for after linking; None: as the settings say.
        bytecode: Compile Python files; None: as the settings say.
    """

    force: bool = False
    link_scripts: bool | None = None
    bytecode: bool | None = None


@dataclass(frozen=True, slots=True)
class Hydrated(Documented):
    """An environment on disk.

    Attributes:
        prefix: Where.
        id: Which.
        created: Whether this call made it.
        waited: Whether another process was waited for.
        packed: Whether it came out of one packed object.
        seconds: From the call to now.
        bytes: Of its packages, unpacked; 0 when it was there or packed.
        link_type: How files got there; empty when it was there or packed.
        notes: What the user should know, a sentence each.
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
    """Return where a complete environment is that is wanted at a place, and remember that it was used now. Blocking.

    It may have the other name of the two by which steps and `create` call the same environment.
    """
    found = building.use(os.fspath(prefix), places.triple(env_id))
    return None if found is None else Path(found)
