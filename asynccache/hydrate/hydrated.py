"""An environment on disk: how it is asked for, what is said of it, and using one that is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.hydrate import prefix as places
from asynccache.model.document import document
from asynccache.model.identity import EnvID

if TYPE_CHECKING:
    from asynccache.runtime.locks import LockDirectory


@dataclass(frozen=True, slots=True)
class HydrateOptions:
    """How to hydrate.

    Attributes:
        force: Make a prefix anew although there is an environment.
        link_scripts: Run the scripts that packages bring for after linking; None: as the settings say.
        bytecode: Compile Python files; None: as the settings say.
    """

    force: bool = False
    link_scripts: bool | None = None
    bytecode: bool | None = None


@dataclass(frozen=True, slots=True)
class Hydrated:
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

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        return document(self)


def use(prefix: Path, env_id: EnvID, locks: LockDirectory) -> bool:
    """Tell whether a complete environment is at a place, and remember that it was used now. Blocking.

    Args:
        prefix: The place.
        env_id: Which environment.
        locks: Under which prefixes are made: whoever made this one may have been killed right after it was complete.
    """
    if places.read_marker(prefix) != env_id:
        return False
    places.note_use(prefix)
    locks.sweep(places.lock_name(prefix))
    return True
