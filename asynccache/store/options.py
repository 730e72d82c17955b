"""How a store is reached, whatever its kind."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from asynccache.config import Settings
from asynccache.model.dataclass import dataclass
from asynccache.node.client_provider import foreign_provider
from asynccache.node.patience import Patience
from asynccache.node.store_kinds import KINDS
from asynccache.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to reach a store; options for other kinds are ignored.

    Attributes:
        settings: All settings; a store reads those of its kind.
        cache_dir: Where this user remembers what a store guarantees; None to find it out each time.
        connections: Concurrent connections.
        rate: Requests per second at most; None for no limit.
        bandwidth: Bytes per second at most, in both directions together; None for no limit.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds without a byte after which an answer counts as stalled.
        patience: How long temporary failures are retried.
        clock: Time to wait on.
        part_bytes: Size from which objects move in parts, and of the parts, in bytes; at least 5 MiB on S3.
        parts_at_once: Parts of one object moving at once.
    """

    settings: Settings = field(default_factory=Settings)
    cache_dir: Path | None = None
    connections: int = 64
    rate: float | None = None
    bandwidth: float | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    patience: Patience = field(default_factory=Patience)
    clock: Clock = field(default_factory=Clock)
    part_bytes: int = 8 << 20
    parts_at_once: int = 4

    def provider(self, kind: str) -> str | None:
        """Return the Metaflow plugin that provides credentials for a kind of store; None to use those of the cloud's
        own tools.
        """
        return foreign_provider(kind, self.settings.provider_of(KINDS[kind]))


def store_options(settings: Settings, clock: Clock | None = None) -> StoreOptions:
    """Return the options for a store from the settings, on a clock."""
    return StoreOptions(
        settings=settings,
        cache_dir=settings.cache_dir,
        connections=settings.store_connections,
        rate=settings.store_rate,
        bandwidth=settings.store_bandwidth,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        patience=settings.patience,
        clock=clock or Clock(),
    )
