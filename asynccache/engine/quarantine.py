"""Setting damaged objects aside: out of every reader's way, never deleted."""

from __future__ import annotations

from datetime import UTC, datetime

from asynccache.errors import ObjectNotFoundError
from asynccache.store import layout
from asynccache.store.base import Store


async def set_aside(store: Store, key: str) -> str:
    """Move an object to the quarantine of its store.

    Returns:
        Its new key; empty when it had vanished already.

    Raises:
        StoreError: It cannot be moved.
    """
    new_key = layout.quarantine_key(key, datetime.now(UTC))
    try:
        await store.move(key, new_key)
    except ObjectNotFoundError:
        return ""
    return new_key
