"""Which environments this machine vouches for, and what a digest that was named says of an environment.

A digest is remembered here when this machine resolved the environment itself, or when somebody named the digest and
the document was found to be what it stands for. With the setting `trust = require` nothing else is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynccache.config import Settings
from asynccache.engine.verified import Verified
from asynccache.errors import IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment_digest import EnvironmentDigest
from asynccache.model.identity import EnvID
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    from asynccache.model.environment import ResolvedEnvironment

_ENVIRONMENTS: Final = "environments"  # of what this machine remembers: environment -> what its digest stands for
_SHA256: Final = "sha256 in "  # before a store's identity: key -> sha256 of what was read there, or put there


@dataclass(frozen=True, slots=True)
class Vouched:
    """What this machine vouches for.

    Attributes:
        digest: What the digest of the environment stands for.
        name: sha256 by which it is named: its own, or the common one of all its architectures.
    """

    digest: EnvironmentDigest
    name: str


def remember(cache_dir: Path, vouched: Iterable[Vouched]) -> None:
    """Vouch for environments from now on. Blocking."""
    entries = [(_name(each.digest.id), f"{each.name}\n{each.digest.text.decode('ascii')}") for each in vouched]
    Verified.own(cache_dir).add(_ENVIRONMENTS, entries)


def remembered(cache_dir: Path, env_id: EnvID) -> Vouched | None:
    """Return what this machine vouches for; None if it vouches for nothing. Blocking."""
    text = Verified.own(cache_dir).version(_ENVIRONMENTS, _name(env_id))
    if text is None:
        return None
    name, _, stands_for = text.partition("\n")
    return Vouched(EnvironmentDigest.parse(stands_for.encode("ascii")), name)


def note_sha256(cache_dir: Path, store: str, entries: Iterable[tuple[str, str]]) -> None:
    """Remember (key, sha256) of archives of a store that were read or written by this user. Blocking."""
    Verified.own(cache_dir).add(_SHA256 + store, [entry for entry in entries if entry[1]])


def noted_sha256(cache_dir: Path, store: str) -> dict[str, str]:
    """Return key -> sha256 of what this user read in a store, or put there. Blocking."""
    return Verified.own(cache_dir).known(_SHA256 + store)


async def trusted(settings: Settings, environment: ResolvedEnvironment) -> ResolvedEnvironment:
    """Return an environment as it may be installed.

    Raises:
        IntegrityError: The setting `trust` requires a digest, and none vouches for it.
    """
    if settings.trust != "require" or environment.digest is not None:
        return environment
    known = await in_thread(remembered, settings.cache_dir, environment.id)
    if known is None:
        raise IntegrityError(
            f"no digest vouches for {environment.id}, and the setting trust requires one",
            expected=f"{environment.id}@sha256:DIGEST, or an environment that this machine resolved",
            hint="whoever resolved it sees its digest with `asynccache env show`; name it with that",
        )
    return known.digest.applied(environment)


async def vouched_locally(settings: Settings, environment: ResolvedEnvironment) -> ResolvedEnvironment | None:
    """Return what a request may mean: with `trust = require` only what this machine vouches for."""
    try:
        return await trusted(settings, environment)
    except IntegrityError:
        return None


def _name(env_id: EnvID) -> str:
    return f"{env_id} {env_id.arch}"
