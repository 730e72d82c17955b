"""Opening the store at a root."""

from __future__ import annotations

from asynccache.errors import ConfigurationError
from asynccache.model.root import StoreRoot
from asynccache.node.store_kinds import KINDS, in_words
from asynccache.store.base import Store
from asynccache.store.local import LocalStore
from asynccache.store.options import StoreOptions


def open_store(root: StoreRoot, options: StoreOptions | None = None, *, may_be_absent: bool = True) -> Store:
    """Return the store of a root, to be opened with `async with`. Nothing is read or written before that.

    Opening creates nothing: a directory is created by the first write, a bucket never.

    Args:
        root: Its root.
        options: How to reach it.
        may_be_absent: Whether a missing directory counts as an empty store. False for an operation that only reads from
            a store that was named, where a missing directory means a mistyped path (see `ops.opening`).

    Raises:
        ConfigurationError: This version does not support its kind.
    """
    if root.is_directory:
        return LocalStore(root.directory, may_be_absent=may_be_absent)
    kind = KINDS.get(root.kind)
    if kind is None:
        forms = in_words("a directory", *(each.address_format for each in KINDS.values()))
        raise ConfigurationError(f"{root} cannot be the store here", expected=forms)
    opened: Store = kind.opened_by()(root, options or StoreOptions())
    return opened
