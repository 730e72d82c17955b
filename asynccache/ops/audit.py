"""Verifying a store as a whole or in part: its archives, and what environments need of it."""

from __future__ import annotations

from asynccache.engine.engine import Engine
from asynccache.errors import IntegrityError, ObjectNotFoundError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.ops.verify import Checked, Sample, Verification, verify_store
from asynccache.ops.verify_environments import EnvironmentsVerification, verify_environments


@dataclass(frozen=True, slots=True)
class Audit:
    """What verifying showed.

    Attributes:
        store: Address of the store.
        pattern: Which archives were meant; None for all.
        quarantine: Whether damaged objects were moved to the quarantine.
        archives: What reading archives showed.
        environments: What reading documents, names and packs showed; nothing with a pattern or a sample.
    """

    store: str
    pattern: str | None
    quarantine: bool
    archives: Verification
    environments: EnvironmentsVerification

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
        if archives.errors:
            raise PartialFailureError(f"{len(archives.errors)} objects could not be read", archives.errors)
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
        if self.empty and not allow_empty:
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

    def as_document(self) -> dict[str, object]:
        """Return the result as plain values."""
        return {"store": self.store, **self.archives.as_document(), "environments": self.environments.as_document()}


async def audit(
    engine: Engine,
    sample: Sample,
    *,
    quarantine: bool = False,
    checked: Checked | None = None,
) -> Audit:
    """Read a store (see `verify_store`); the whole of it also means documents, names and packs.

    Args:
        engine: An open engine.
        sample: Which archives.
        quarantine: Move damaged objects to the quarantine.
        checked: Told of each archive that was read.

    Raises:
        StoreError: The store cannot be listed.
    """
    archives = await verify_store(engine, sample, quarantine=quarantine, checked=checked)
    environments = EnvironmentsVerification()
    if sample.whole:
        environments = await verify_environments(engine, quarantine=quarantine)
    return Audit(engine.store.address, sample.pattern, quarantine, archives, environments)
