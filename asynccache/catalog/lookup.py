"""Finding environments by name, by request, or by the step of a run that used them; first locally, then in the store.

Names of steps need the service that knows the runs, which is passed as a function (`PathspecIds`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Final

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.indexed import IndexedManifest
from asynccache.catalog.local import DEFAULT
from asynccache.config.settings import check
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.runtime.late_loop import in_thread

Ids = tuple[str, str]
PathspecIds = Callable[[str], Awaitable[Ids | None]]
"""From `Flow[/Run[/Step]]` to (req_id, full_id), None when nobody knows; may raise what is wrong with that step."""
_PATHSPEC: Final = re.compile(r"[A-Z]\w*(/[\w.-]+){0,3}")  # of a flow with a conventional class name
_ALMOST_ID: Final = re.compile(r"[0-9a-f]{32,48}")


@dataclass(frozen=True, slots=True)
class RemotePolicy:
    """Whose resolutions of a request are taken from the store (setting CONDA_USE_REMOTE_LATEST).

    Attributes:
        anyone: Those of any user.
        users: Those of these users.
    """

    anyone: bool = False
    users: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, username: str) -> RemotePolicy:
        """Read the setting.

        Args:
            text: `:none:`, `:username:`, `:any:`, or user names separated by commas.
            username: The user that `:username:` means.

        Raises:
            ConfigurationError: It is empty, or another word between colons.
        """
        check("use_remote_latest", text)
        names = frozenset(name.strip() for name in text.split(","))
        alone = names & {":none:", ":any:"}
        if alone:
            return cls(anyone=":any:" in alone)
        return cls(users=frozenset(username if n == ":username:" else n for n in names))

    def allows(self, resolved_by: str) -> bool:
        """Return whether a resolution by this user may be taken; `NAME (compatible with ...)` counts as NAME's."""
        return self.anyone or resolved_by.partition(" (")[0] in self.users

    @property
    def nobody(self) -> bool:
        """Whether the store is not asked at all."""
        return not self.anyone and not self.users


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds environments.

    Attributes:
        local: What this machine knows.
        documents: Documents in the store; None to search locally only.
        aliases: Aliases in the store; None to search locally only.
        policy: Whose resolutions are taken.
        pathspecs: Finds what a step used; None if that is not available.
        say: Called with a sentence on what was skipped.
        vouched: Returns an environment as a request may use it, None if it is not vouched for.
    """

    local: IndexedManifest
    documents: EnvironmentDocuments | None = None
    aliases: Aliases | None = None
    policy: RemotePolicy = field(default_factory=RemotePolicy)
    pathspecs: PathspecIds | None = None
    say: Callable[[str], object] = str
    vouched: Callable[[ResolvedEnvironment], Awaitable[ResolvedEnvironment | None]] | None = None

    async def by_request(
        self, req_id: str, arch: str, unique_keys: Mapping[str, str] | None = None
    ) -> ResolvedEnvironment | None:
        """Return what a request means: this machine's default, else the latest allowed resolution in the store.

        A damaged document is skipped, and reported.

        Args:
            req_id: Identity of the request.
            arch: conda platform.
            unique_keys: Keys that an environment must have, no more and no fewer; None for any.

        Raises:
            StoreError: A resolution in the store cannot be read now; an older one is not used instead.
        """

        def fits(environment: ResolvedEnvironment | None) -> bool:
            return environment is not None and unique_keys in (None, environment.unique_keys)

        known = await in_thread(self.local.get, EnvID(req_id, DEFAULT, arch))
        if known is not None and fits(known) and (meant := await self._vouched(known)) is not None:
            return meant
        if self.documents is None or self.policy.nobody:
            return None
        found, unreadable = await self.documents.of_request(arch, req_id)
        for error in unreadable.values():
            self.say(
                f"a resolution of the request {req_id} in the store is passed over, since it cannot be read: {error}"
            )
        for environment in found:
            if fits(environment) and self.policy.allows(environment.resolved_by):
                meant = await self._vouched(environment)
                if meant is not None:
                    return meant
        return None

    async def _vouched(self, environment: ResolvedEnvironment) -> ResolvedEnvironment | None:
        return environment if self.vouched is None else await self.vouched(environment)

    async def by_id(self, env_id: EnvID) -> ResolvedEnvironment | None:
        """Return one environment, None if it is unknown."""
        known = await in_thread(self.local.get, env_id)
        if known is None and self.documents is not None:
            known = await self.documents.get(env_id)
        return known

    async def ids(self, alias: Alias) -> Ids | None:
        """Return what an alias refers to; for mutable aliases the store's answer counts."""
        if alias.kind == "pathspec" and self.pathspecs is not None:
            return await self.pathspecs(alias.stored)
        here = await in_thread(self.local.resolve, alias)
        if self.aliases is None or alias.kind not in {"generic", "full-id"} or (here is not None and not alias.mutable):
            return here
        return await self.aliases.get(alias) or here

    async def named(self, text: str) -> tuple[Alias, Ids]:
        """Return the name in a text, and what it refers to.

        Args:
            text: `NAME[:TAG]`, `REQ:FULL`, a full id, or a pathspec: `step:...`, or one that begins with an upper-case
                letter; `Flow` and `Flow/Run` mean the `end` step, of the latest run if none is given.

        Raises:
            UsageError: The text is not a name.
            ObjectNotFoundError: No environment is known under it; the message lists similar names.
        """
        alias = parse_name(text)
        ids = await self.ids(alias)
        if ids is None:
            near = await self._near(alias)
            raise ObjectNotFoundError(
                f"no environment is known as {alias}",
                hint=f"did you mean {' or '.join(near)}?" if near else "`asynccache env ls` lists them",
            )
        return alias, ids

    async def _near(self, alias: Alias) -> list[str]:
        if alias.kind != "generic":
            return []
        known = await in_thread(self.local.known_names)
        if self.aliases is not None:
            known |= {str(name) async for name, _info in self.aliases.names()}
        return difflib.get_close_matches(str(alias), sorted(known), 3, 0.6)


def parse_name(text: str) -> Alias:
    """Read a name of any kind; see `Lookup.named`.

    Raises:
        UsageError: It is not a name.

    >>> parse_name("Flow/12"), parse_name("team/env:v1")
    (Alias(kind='pathspec', stored='Flow/12'), Alias(kind='generic', stored='team/env/v1'))
    """
    if text.startswith("step:") or _PATHSPEC.fullmatch(text):
        return Alias.pathspec(text.removeprefix("step:"), partial=True)
    for part in text.split(":"):
        if _ALMOST_ID.fullmatch(part) and len(part) != 40:
            raise UsageError(f"{text!r} is a malformed id", expected="40 hexadecimal digits", found=f"{len(part)}")
    return Alias.parse(text, full_ids=True)
