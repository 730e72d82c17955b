"""What all shards of a verification have shown, put together from what they have left in the store."""

from __future__ import annotations

from typing import ClassVar

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.shard_journal import AddedUp, add_up, not_done
from asynccache.ops.shards import part_key
from asynccache.ops.verify import Sample, Verification
from asynccache.ops.verify_environments import EnvironmentsVerification
from asynccache.ops.verify_whole import StoreVerification, environments_key
from asynccache.store.base import Store


@dataclass(frozen=True, slots=True)
class VerifyRun(Documented):
    """The shards of one verification, added up.

    Attributes:
        verification: What those that have begun have shown.
        shards: How many there are.
        unfinished: Those that are not done, from 1: nobody has begun, is at work, or something could not be read.
        begun_at: When the first was begun; UTC, ISO 8601 with zone; empty where none was.
        updated_at: When the last wrote something, likewise.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "*verification", "shards", "complete", "unfinished", "begun_at", "updated_at",
    )  # fmt: skip

    verification: StoreVerification
    shards: int
    unfinished: tuple[int, ...]
    begun_at: str
    updated_at: str

    @property
    def complete(self) -> bool:
        """Whether all are done."""
        return not self.unfinished

    def raise_for_failures(self, *, allow_empty: bool = False) -> None:
        """Raise when a shard is not done, something is wrong, or nothing was read.

        Args:
            allow_empty: Succeed although nothing was read.

        Raises:
            StoreError: Something is left to do; the same shards may be started again.
            PartialFailureError: Objects that could not be read.
            IntegrityError: Archives, documents, names or packs that are damaged.
            ObjectNotFoundError: Nothing was read.
        """
        if self.unfinished:
            raise not_done(self.unfinished, self.shards)
        self.verification.raise_for_failures(allow_empty=allow_empty)


async def verify_run(
    store: Store,
    dirname: str,
    sample: Sample,
    *,
    quarantine: bool = False,
    adopt: bool = False,
    check_with: str | None = None,
) -> VerifyRun:
    """Add up what all shards have shown.

    Args:
        store: An open store.
        dirname: Directory of the packages.
        sample: That of any of them.
        quarantine: As they were told; of named runs that is another one.
        adopt: Likewise.
        check_with: Likewise.

    Raises:
        StoreError: The store cannot be read.
    """
    division = sample.division(dirname, quarantine=quarantine, adopt=adopt, check_with=check_with)
    archives, environments = await shown(store, division.base, division.count)
    unfinished = {*archives.unfinished, *(environments.unfinished if sample.of_all else ())}
    return VerifyRun(
        StoreVerification(store.address, sample.pattern, quarantine, archives.counts, environments.counts),
        division.count,
        tuple(sorted(unfinished)),
        archives.begun_at,
        max(archives.updated_at, environments.updated_at),
    )


async def shown(store: Store, base: str, count: int) -> tuple[AddedUp[Verification], AddedUp[EnvironmentsVerification]]:
    """Return what the shards of a run have shown of archives, and the first one of environments.

    Args:
        store: An open store.
        base: What the keys of all of them begin with (`Division.base`).
        count: Of the shards.

    Raises:
        StoreError: The store cannot be read.
    """
    archives = await add_up(store, [part_key(base, index) for index in range(1, count + 1)], Verification)
    return archives, await add_up(store, [environments_key(base)], EnvironmentsVerification)
