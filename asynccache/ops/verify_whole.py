"""Verifying a store as a whole or in part: its archives, and what environments need of it."""

from __future__ import annotations

from typing import ClassVar

from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import IntegrityError, ObjectNotFoundError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.shards import range_of
from asynccache.ops.verify import Checked, Sample, Total, Verification, verify_store
from asynccache.ops.verify_environments import EnvironmentsVerification, verify_environments


@dataclass(frozen=True, slots=True)
class StoreVerification(Documented):
    """What verifying showed.

    Attributes:
        store: Address of the store.
        pattern: Which archives were meant; None for all.
        quarantine: Whether damaged objects were moved to the quarantine.
        archives: What reading archives showed.
        environments: What reading documents, names and packs showed; nothing with a pattern or a sample. Of several
            shards the first one reads them.
        shared: Whether others read other parts of the store.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("store", "*archives", "environments")

    store: str
    pattern: str | None
    quarantine: bool
    archives: Verification
    environments: EnvironmentsVerification
    shared: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing was read: then nothing is known to be right."""
        found = self.environments
        return not (self.archives.checked or found.documents or found.names or found.packs)

    def raise_for_failures(self, *, allow_empty: bool = False) -> None:
        """Raise when something is wrong, or nothing was read.

        Args:
            allow_empty: Succeed although nothing was read.

        Raises:
            PartialFailureError: Objects that could not be read.
            IntegrityError: Archives, documents, names or packs that are damaged.
            ObjectNotFoundError: Nothing was read.
        """
        archives, environments = self.archives, self.environments
        if errors := {**archives.errors, **environments.errors}:
            raise PartialFailureError(f"{len(errors)} objects could not be read", errors)
        if archives.damaged:
            raise IntegrityError(
                f"{len(archives.damaged)} of {archives.checked} archives in {self.store} are damaged",
                hint=None if self.quarantine else "run again with --quarantine to move them to the quarantine",
            )
        if environments.damaged:
            raise IntegrityError(
                f"{len(environments.damaged)} documents, names or packs in {self.store} are damaged",
                hint="what was reported of each says what to do",
            )
        if self.empty and not allow_empty and not self.shared:
            raise self._nothing_read()

    def _nothing_read(self) -> ObjectNotFoundError:
        if self.archives.skipped:
            return ObjectNotFoundError(
                f"the sample has none of the {self.archives.skipped} archives in {self.store}, so nothing was read",
                hint="take a larger share or another --seed",
            )
        what = "there is nothing" if self.pattern is None else f"no archive matches {self.pattern!r}"
        return ObjectNotFoundError(
            f"{what} in {self.store}, so nothing was read",
            hint="check the address and the pattern; --allow-empty if an empty store is expected",
        )


async def verify_whole(
    host: Host,
    sources: Sources,
    sample: Sample,
    *,
    quarantine: bool = False,
    adopt: bool = False,
    check_with: str | None = None,
    checked: Checked | None = None,
    total: Total | None = None,
) -> StoreVerification:
    """Read a store (see `verify_store`); the whole of it also means documents, names and packs.

    Args:
        host: What it is done with.
        sources: The store, and upstream.
        sample: Which archives.
        quarantine: Move damaged objects to the quarantine.
        adopt: Compare derived archives with the published ones.
        check_with: Who compares those that we wrote as well: `cph`.
        checked: Called with each archive that was read.
        total: Called with the amount to read.

    Raises:
        StoreError: The store cannot be listed.
    """
    division = sample.division(
        host.settings.packages_dirname, quarantine=quarantine, adopt=adopt, check_with=check_with
    )
    keys = await range_of(sources.store, division, sample.shard, host.clock)
    archives = await verify_store(
        host,
        sources,
        sample,
        keys=keys,
        journal_key=sample.journal_key(division),
        quarantine=quarantine,
        adopt=adopt,
        check_with=check_with,
        checked=checked,
        total=total,
    )
    environments = EnvironmentsVerification()
    if sample.whole:
        environments = await verify_environments(host, sources, quarantine=quarantine)
    return StoreVerification(sources.store.address, sample.pattern, quarantine, archives, environments, sample.shared)
