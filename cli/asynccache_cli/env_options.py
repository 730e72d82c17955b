"""What the environment commands share: opening the catalog, tables, times and sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asynccache.config import Settings
from asynccache.engine.engine import store_options as options_of
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.environments import Environments, doubts
from asynccache.store.open import open_store
from asynccache_cli.options import warn


@asynccontextmanager
async def open_environments(settings: Settings) -> AsyncIterator[Environments]:
    """Open the catalog on the settings' store."""
    async with open_store(settings.root, options_of(settings)) as store:
        yield Environments(settings, store, warn)


def warn_of_doubts(environment: ResolvedEnvironment) -> None:
    """Say what does not fit together in a document."""
    for sentence in doubts(environment):
        warn(f"the document of {environment.id} may have been changed: {sentence}")


def architecture_of(text: str | None) -> str:
    """Return the architecture that is meant.

    Raises:
        UsageError: There is none of that name.
    """
    return current_architecture() if text is None else checked_architecture(text)
