"""The entry point: one session holds settings and what was opened with them, and has every verb.

    async with Session() as session:
        readiness = await session.warm("team/env:v1")
        readiness.raise_for_failures()

Store, connections and threads are opened by the first verb that needs them and closed with the session. Each subject
has a module with its verbs; defaults and decisions belong there or below, never in a caller such as the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynccache.api.collecting import CollectingVerbs
from asynccache.api.environments import EnvironmentVerbs
from asynccache.api.hydrating import HydratingVerbs
from asynccache.api.packages import PackageVerbs
from asynccache.api.packing import PackingVerbs
from asynccache.api.resolving import ResolvingVerbs
from asynccache.api.store import StoreVerbs

if TYPE_CHECKING:
    from asynccache.api.planning import Planning


class Session(
    PackageVerbs, StoreVerbs, EnvironmentVerbs, ResolvingVerbs, HydratingVerbs, PackingVerbs, CollectingVerbs
):
    """Every verb of the product, with one set of settings (see `Opened`)."""

    @property
    def plan(self) -> Planning:
        """The verbs that can be planned: each takes the arguments of the verb of its name, and reports what that would
        do.
        """
        from asynccache.api.planning import Planning  # noqa: PLC0415 - few ask for it

        return Planning(self)
