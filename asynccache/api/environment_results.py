"""Results of verbs on environments, where no lower room has a type for them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented

if TYPE_CHECKING:
    from asynccache.catalog.aliases import Move
    from asynccache.model.alias import Alias
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.model.identity import EnvID


@dataclass(frozen=True, slots=True)
class Shown(Documented):
    """An environment and its names.

    Attributes:
        environment: What it was asked for and what it holds.
        names: Its aliases, local and in the store, sorted.
        digest: The sha256 in the name, else the digest under which the store has exactly its bytes now: the common one
            of all its architectures; empty if there is none.
        own_digest: sha256 of this architecture's environment alone.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "id",
        "names",
        "digest",
        "own_digest",
        "*environment",
        "resolved_at as resolved_on",
    )

    environment: ResolvedEnvironment
    names: tuple[Alias, ...]
    digest: str = ""
    own_digest: str = ""

    @property
    def id(self) -> EnvID:
        """Which."""
        return self.environment.id

    @property
    def resolved_at(self) -> datetime:
        """When it was resolved; a time without a zone is taken to be in this machine's zone."""
        return self.environment.resolved_on


@dataclass(frozen=True, slots=True)
class Taken(Documented):
    """Environments that were added to this machine's list.

    Attributes:
        environments: The one that was asked for, and those resolved together with it for other architectures.
        manifest: The file that holds the list.
        default: Whether they are now the default for their request on this machine.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("ids as environments", "manifest", "default")

    environments: tuple[ResolvedEnvironment, ...]
    manifest: Path
    default: bool

    @property
    def ids(self) -> list[EnvID]:
        """The one that was asked for, and those resolved together with it for other architectures."""
        return [environment.id for environment in self.environments]


@dataclass(frozen=True, slots=True)
class History(Documented):
    """Every move of an alias.

    Attributes:
        name: The alias.
        moves: The oldest first.
    """

    name: Alias
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class RolledBack(Documented):
    """An alias that was moved back.

    Attributes:
        name: The alias.
        now: (req_id, full_id) that it refers to now.
        before: (req_id, full_id) that it referred to before.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("name", "before as from", "now as to")

    name: Alias
    now: tuple[str, str]
    before: tuple[str, str] | None
