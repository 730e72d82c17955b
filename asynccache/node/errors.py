"""Errors of packs, for callers that use packages instead."""

from asynccache.errors import HydrationError


class PackUnusableError(HydrationError):
    """The packed environment is absent, damaged or cannot be read; its packages may still do."""


class NoPackError(PackUnusableError):
    """There is no packed environment."""
