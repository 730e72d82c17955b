"""What verbs on environments return, where no lower room has a type for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.model.dataclass import dataclass

if TYPE_CHECKING:
    from asynccache.catalog.aliases import Move
    from asynccache.model.alias import Alias
    from asynccache.model.environment import ResolvedEnvironment


@dataclass(frozen=True, slots=True)
class Shown:
    """An environment and how it is called.

    Attributes:
        environment: What it was asked for and what it holds.
        names: Its names, here and in the store, in order.
    """

    environment: ResolvedEnvironment
    names: tuple[Alias, ...]

    def as_document(self) -> dict[str, object]:
        """Return the environment's document with its ids and names."""
        env_id = self.environment.id
        ids = {"req_id": env_id.req_id, "full_id": env_id.full_id, "arch": env_id.arch}
        return {**ids, "names": [str(name) for name in self.names], **self.environment.as_document()}


@dataclass(frozen=True, slots=True)
class Taken:
    """Environments that were taken into this machine's list.

    Attributes:
        environments: The one that was asked for, and those resolved together with it for other architectures.
        manifest: The file that holds the list.
        default: Whether their request means them on this machine now.
    """

    environments: tuple[ResolvedEnvironment, ...]
    manifest: Path
    default: bool

    def as_document(self) -> dict[str, object]:
        """Return ids as `[req_id, full_id, arch]`, and where they are."""
        rows = [environment.id.as_list() for environment in self.environments]
        return {"manifest": str(self.manifest), "environments": rows, "default": self.default}


@dataclass(frozen=True, slots=True)
class History:
    """Every move of a name.

    Attributes:
        name: Which.
        moves: The first one first.
    """

    name: Alias
    moves: tuple[Move, ...]

    def as_document(self) -> dict[str, object]:
        """Return the moves as plain values."""
        return {"name": str(self.name), "moves": [move.as_document() for move in self.moves]}


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A name that was moved back.

    Attributes:
        name: Which.
        now: (req_id, full_id) of what it means now.
        before: Of what it meant before.
    """

    name: Alias
    now: tuple[str, str]
    before: tuple[str, str] | None

    def as_document(self) -> dict[str, object]:
        """Return the move as plain values."""
        return {"name": str(self.name), "from": self.before, "to": self.now}
