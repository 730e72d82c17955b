"""What verbs on environments return, where no lower room has a type for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented, document

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
        return {**document(self.environment, "id"), **document(self, "names"), **self.environment.as_document()}


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
        return document(self, environments=[environment.id.as_list() for environment in self.environments])


@dataclass(frozen=True, slots=True)
class History(Documented):
    """Every move of a name.

    Attributes:
        name: Which.
        moves: The first one first.
    """

    name: Alias
    moves: tuple[Move, ...]


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
