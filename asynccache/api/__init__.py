"""The public surface: `Session` has every verb of the product; the rest are its arguments and results.

    from asynccache.api import Session

    async with Session() as session:
        resolved = await session.resolve("requirements.txt")
        resolved.raise_for_failures()
        for row in resolved.rows:
            print(row.name, row.arch, row.environment.id)

Settings come from the environment and the configuration files unless they are given. Nothing is printed; progress goes
to `emit`, notes stand in the results. A name is imported when it is first asked for.
"""

from __future__ import annotations

from asynccache.api.session import Session
from asynccache.config import Settings
from asynccache.hydrate.hydrate import Hydrated, HydrateOptions
from asynccache.ops.resolve_inputs import InputFile, Inputs
from asynccache.ops.resolve_request import ResolveOptions
from asynccache.ops.resolve_result import Resolved, Row

__all__ = [
    "HydrateOptions",
    "Hydrated",
    "InputFile",
    "Inputs",
    "ResolveOptions",
    "Resolved",
    "Row",
    "Session",
    "Settings",
]
