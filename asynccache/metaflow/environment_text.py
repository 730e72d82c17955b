"""Environments as `metaflow environment` prints them: for people, and a line for programs (contract, section 6.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynccache.api import Alias, Presence, ResolvedEnvironment


class EnvironmentText:
    """Writes environments down.

    Args:
        presence: Returns what this machine knows of an environment.
    """

    def __init__(self, presence: Callable[[ResolvedEnvironment], Presence]) -> None:
        self._presence = presence

    def present(self, found: ResolvedEnvironment) -> bool:
        """Return whether an environment is on this machine."""
        return bool(self._presence(found).prefixes)

    def long(
        self, found: ResolvedEnvironment, *, default: bool = False, more: Iterable[Alias] = (), by_name: bool = False
    ) -> Iterator[str]:
        """Yield the lines for people; Metaflow takes a star for the mark of bold text, so `3.8.*` is `3.8.x`.

        With `by_name` the directories that it is in stand by their names.
        """
        from asynccache.api.environment_text import long_text  # noqa: PLC0415 - when a command runs

        for line in long_text(found, self._presence(found), more, default=default, by_name=by_name):
            yield line.replace("*", "x")
        yield ""

    def quiet(self, found: ResolvedEnvironment, more: Iterable[Alias] = ()) -> str:
        """Return the line for programs: twelve fields with blanks between them, lists with commas."""
        from asynccache.api.environment_text import quiet_text  # noqa: PLC0415 - when a command runs

        return quiet_text(found, self._presence(found), more)
