"""Creating several environments with one engine: each in its own prefix, whole or not at all, independent of the
others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import ClassVar, Final

from asynccache.errors import AsyncCacheError, UsageError, raise_failures
from asynccache.hydrate.prefix import checked_name
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.hydrate_environments import Created, Creation, create
from asynccache.ops.opening import Opening
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import outcome_of, run_works

_AT_ONCE: Final = 4  # environments; one alone keeps network and disk busy, the others use what it leaves


@dataclass(frozen=True, slots=True)
class Attempt(Documented):
    """The outcome for one of several environments.

    Attributes:
        name: The name by which it was requested.
        place: Its path; None for this machine's environments.
        created: What was done; None if it failed.
        error: Why it failed; None if it did not.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("name as asked", "*created", "*error")

    name: str
    place: Path | None
    created: Created | None
    error: AsyncCacheError | None = None


@dataclass(frozen=True, slots=True)
class Attempts(Documented):
    """The outcomes for several environments.

    Attributes:
        results: One per environment, in the order in which they were requested.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("results as environments",)

    results: tuple[Attempt, ...]

    def raise_for_failures(self) -> None:
        """Raise if an environment was not created.

        Raises:
            AsyncCacheError: The failure, if only one environment was requested.
            PartialFailureError: Why, by name.
        """
        errors: dict[str, AsyncCacheError] = {}
        for each in self.results:
            if each.error is not None:
                errors[f"{each.name} at {each.place}" if each.name in errors else each.name] = each.error
        asked = len(self.results)
        raise_failures(f"{len(errors)} of {asked} environments were not created", errors, asked=asked)


def place_of(
    environment: ResolvedEnvironment | str, into: str | PathLike[str] | None, prefix: str | PathLike[str] | None
) -> Path | None:
    """Return the path of one of several environments; None for this machine's environments.

    Args:
        environment: The environment, or any name of it.
        into: Directory for all of them, if given.
        prefix: Prefix for this one; relative to `into`.

    Raises:
        UsageError: No directory name can be derived from its name.

    >>> str(place_of("team/env:v1@sha256:0123", "envs", None))
    'envs/team_env_v1'
    """
    if prefix is None and into is None:
        return None
    if prefix is None:
        name = environment if isinstance(environment, str) else environment.id.name
        prefix = checked_name(re.sub(r"[/:]", "_", name.partition("@")[0].lstrip("./~")))
    return Path(into or "", Path(prefix).expanduser())


async def create_environments(
    opening: Opening, wanted: Iterable[Creation], done: Callable[[Attempt], object] | None = None
) -> Attempts:
    """Create environments; one that fails does not stop the others. What is requested twice is done once.

    Args:
        opening: Store and engine are opened once, and only where they are needed.
        wanted: The environments and their prefixes.
        done: Called with each outcome as it is ready.

    Raises:
        UsageError: Nothing is requested, or different environments have one prefix.
    """
    chosen = {(each.text, _place(each)): each for each in wanted}
    if not chosen:
        raise UsageError("there is nothing to create", hint="name an environment; `asynccache env ls` lists them")
    _check_places(chosen)

    async def attempt(each: Creation) -> Attempt:
        outcome = await outcome_of(create(opening, each))
        created, error = (None, outcome) if isinstance(outcome, AsyncCacheError) else (outcome, None)
        result = Attempt(each.text, _place(each), created, error)
        if done is not None:
            done(result)
        return result

    outcomes = await run_works(list(chosen.values()), attempt, room=Budget(_AT_ONCE, "environments"))
    for outcome in outcomes:
        if isinstance(outcome, AsyncCacheError):  # raised by `done`
            raise outcome
    return Attempts(tuple(each for each in outcomes if isinstance(each, Attempt)))


def _place(wanted: Creation) -> Path | None:
    return None if wanted.prefix is None else Path(os.path.abspath(wanted.prefix.expanduser()))  # noqa: PTH100 - no `..`


def _check_places(chosen: Iterable[tuple[str, Path | None]]) -> None:
    """Refuse two environments for one prefix: which of them it would hold is undefined."""
    there: dict[Path, str] = {}
    for text, place in chosen:
        if place is not None and there.setdefault(place, text) != text:
            raise UsageError(
                f"{there[place]} and {text} would both be made at {place}", hint="give each a prefix of its own"
            )
