"""Verbs on what a store holds: list packages, stat, verify, doctor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened

if TYPE_CHECKING:
    from asynccache.ops.audit import Audit
    from asynccache.ops.contents import Totals
    from asynccache.ops.doctor import Examination, Finding
    from asynccache.store.stored import StoredArchive


class StoreVerbs(Opened):
    """What is done with a store as a whole."""

    async def list_packages(self, pattern: str | None = None) -> AsyncGenerator[StoredArchive]:
        """Yield the archives of the store in the order of their keys; says when there is none.

        Args:
            pattern: Shell pattern that the file name must match, or the whole key when it contains a slash.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.contents import archives  # noqa: PLC0415 - other verbs do without

        store = await self._opening.store()
        empty = True
        async for item in archives(store, self.settings.packages_dirname, pattern):
            empty = False
            yield item
        if empty:
            self._tell(f"{store.address} has no packages{f' that match {pattern!r}' if pattern else ': it is empty'}")

    async def stat(self) -> Totals:
        """Count the packages and bytes of the store, one request per thousand objects; says when there is none.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.contents import totals  # noqa: PLC0415 - other verbs do without

        store = await self._opening.store()
        counted = await totals(store, self.settings.packages_dirname)
        if not counted.packages:
            self._tell(f"{store.address} has no packages: it is empty")
        return counted

    async def verify(
        self,
        pattern: str | None = None,
        *,
        sample: float = 1.0,
        seed: str = "",
        quarantine: bool = False,
        checked: Callable[[StoredArchive], object] | None = None,
    ) -> Audit:
        """Read and digest the archives of the store; all of it, also documents, names and packs of environments.

        Args:
            pattern: Only archives whose file name (or key, with a slash) matches; nothing of environments then.
            sample: Share of the archives to read, above 0 up to 1; below 1 nothing of environments.
            seed: Which archives a sample takes; another text takes others.
            quarantine: Move damaged objects to the quarantine, so that `cache` brings them anew.
            checked: Told of each archive that was read.

        Returns:
            What was read and what is wrong with it: `raise_for_failures()` raises that.

        Raises:
            UsageError: `sample` is no share.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.audit import audit  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.verify import Sample  # noqa: PLC0415

        wanted = Sample(pattern, sample, seed)
        return await audit(await self._opening.engine(), wanted, quarantine=quarantine, checked=checked)

    async def doctor(self, found: Callable[[Finding], object] | None = None) -> Examination:
        """Look at everything that a run depends on: this machine, its tools, the store.

        Writes one object of 8 MiB below `asynccache/doctor/` in the store and removes it; makes no directory or bucket.

        Args:
            found: Told of each finding as it is made.

        Returns:
            All findings, failed checks among them: `raise_for_failures()` raises when a run would fail.
        """
        from asynccache.ops.doctor import examine  # noqa: PLC0415 - other verbs do without

        return await examine(self._opening, found)
