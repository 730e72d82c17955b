"""The front for everybody: one session holds settings and what was opened with them, and has every verb.

    async with Session() as session:
        readiness = await session.warm("team/env:v1")
        readiness.raise_for_failures()

Store, connections and threads are opened by the first verb that needs them and closed with the session. Verbs stand in
a module per subject; a default or a decision stands there or below, never in a front that calls them.
"""

from __future__ import annotations

from asynccache.api.environments import EnvironmentVerbs
from asynccache.api.hydrating import HydratingVerbs
from asynccache.api.packages import PackageVerbs
from asynccache.api.packing import PackingVerbs
from asynccache.api.resolving import ResolvingVerbs
from asynccache.api.store import StoreVerbs


class Session(PackageVerbs, StoreVerbs, EnvironmentVerbs, ResolvingVerbs, HydratingVerbs, PackingVerbs):
    """Every verb of the product, with one set of settings (see `Opened`)."""
