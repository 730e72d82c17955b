"""Verbs on packages: cache, transmute, backfill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened
from asynccache.errors import UsageError
from asynccache.model.package import Format, Package
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    from asynccache.engine.pipeline import Job
    from asynccache.engine.report import Report
    from asynccache.model.shard import Shard
    from asynccache.ops.backfill import Backfilled, Selection
    from asynccache.ops.backfill_run import BackfillRun
    from asynccache.ops.transmute_files import Conversion, Conversions


class PackageVerbs(Opened):
    """Operations on packages."""

    async def cache(
        self,
        *urls: str,
        packages: Iterable[Package] = (),
        lists: Iterable[str | PathLike[str]] = (),
        arches: Iterable[str] = (),
        environment: str | None = None,
        python: str | None = None,
        extras: Iterable[str] = (),
        groups: Iterable[str] = (),
        skip_sources: bool = False,
        keep_published: bool = False,
    ) -> Report:
        """Fetch packages, verify them and publish them in the store (see `asynccache cache`).

        The setting `preferred_format` says which format of conda packages is stored. Reports what was left out of a
        list.

        Args:
            urls: URLs of packages, with the digest as fragment if it is known: `URL#MD5`, `URL#sha256=DIGEST`.
            packages: Further packages.
            lists: Files that name further packages: lists and lock files; `-` for standard input.
            arches: conda platforms to take from lock files; none for this machine's.
            environment: Environment to take from a pixi.lock.
            python: Python version that wheels in a lock file are chosen for; None for the running one.
            extras: Extras to take from a lock file as well.
            groups: Dependency groups to take from a lock file; if empty, its default groups.
            skip_sources: Leave out entries that are not archives instead of refusing the list.
            keep_published: Store the published archive as well as the preferred one.

        Returns:
            The receipt, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: A URL is not that of a package, a list cannot be read, or there is nothing to cache.
            StoreError: The store cannot be used.
        """
        everything = await listed_packages(
            self._note, *urls, packages=packages, lists=lists, arches=arches, environment=environment, python=python,
            extras=extras, groups=groups, skip_sources=skip_sources,
        )  # fmt: skip
        engine = await self._opening.engine(writing=True)
        return await engine.cache(everything, wanted=self.settings.wanted_format, keep_published=keep_published)

    async def transmute(
        self,
        *files: str | PathLike[str],
        to: Format | str,
        out: str | PathLike[str] | None = None,
        check_with: str | None = None,
        done: Callable[[Conversion], object] | None = None,
    ) -> Conversions:
        """Convert local conda packages between their two formats, exactly (see `asynccache transmute`).

        The settings `zstd_level`, `verify_transmute` and `cpu_slots` say how. No store is opened.

        Args:
            files: Archives.
            to: `.conda` or `.tar.bz2`.
            out: Directory for the results, created if missing; None to write each next to its source.
            check_with: `cph` to have conda-package-handling compare each result with its source as well.
            done: Called with the result of each file as it is ready.

        Returns:
            The outcome of each file, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: There is no such format, or no such program to check with.
            DiskError: `out` cannot be created.
        """
        from asynccache.ops.transmute_files import transmute_files  # noqa: PLC0415 - other verbs do without

        paths, directory = [Path(file) for file in files], None if out is None else Path(out)
        return await transmute_files(
            self.settings, paths, Format.conda(to), out=directory, check_with=check_with, done=done
        )

    async def backfill(
        self,
        to: Format | str,
        *,
        pattern: str | None = None,
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        keys: str | PathLike[str] = "",
        resume: bool = False,
        dry_run: bool = False,
        report: bool = False,
        found: Callable[[Job], object] | None = None,
    ) -> Backfilled:
        """Add the other format of every conda package in the store, next to the published archive.

        Args:
            to: `.conda` or `.tar.bz2`: the format to add.
            pattern: Only packages whose file name (or key, with a slash) matches.
            shard: (I, N): the I-th of N ranges of their keys, from 1.
            run_id: Name of the run, shared by all its shards; each continues where it stopped.
            keys: List of keys to look at in place of a listing: a path or address (https, an object of a store). An S3
                Inventory (its manifest.json, CSV, Parquet), lines of `ls --keys`, or one key per line.
            resume: Continue where the last interrupted run stopped, its failures first.
            dry_run: Only report what would be done.
            report: Add up what all shards have done so far.
            found: Called with each package that would be converted, in a dry run.

        Returns:
            What there was to do and what was done, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: There is no such format or shard, or `keys` is not a list of keys.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.backfill import Backfill, Backfilled  # noqa: PLC0415 - others do without

        selection = selection_of(to, pattern, shard, run_id, fspath(keys))
        engine = await self._opening.engine()
        backfill = Backfill(engine, selection)
        done = None
        if dry_run:
            async for job in backfill.todo(keys=await backfill.keys(dry_run=True)):
                if found is not None:
                    found(job)
        else:
            done = await backfill.run(resume=resume)
        run = await backfill.so_far() if report else None
        return Backfilled(engine.store.address, backfill.plan, done, run)

    async def backfill_run(
        self, to: Format | str, count: int = 1, *, pattern: str | None = None, run_id: str = "", keys: str = ""
    ) -> BackfillRun:
        """Add up what all shards of a backfill have done so far, as recorded in the store.

        Args:
            to: As in `backfill`.
            count: Number of shards.
            pattern: As in `backfill`.
            run_id: As in `backfill`.
            keys: As in `backfill`.

        Returns:
            The totals, and the shards that are not done: `raise_for_failures()` raises if there are any.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be read.
        """
        from asynccache.ops.backfill import Backfill  # noqa: PLC0415 - others do without

        selection = selection_of(to, pattern, (1, count), run_id, keys)
        return await Backfill(await self._opening.engine(), selection).so_far()

    async def plan_backfill(
        self, to: Format | str, count: int, *, pattern: str | None = None, run_id: str = ""
    ) -> tuple[str, ...]:
        """Divide the store's conda packages evenly among the shards of a backfill, using one listing of all keys.

        Shards that find no plan make one themselves with few requests; theirs is less even.

        Args:
            to: As in `backfill`.
            count: Number of shards.
            pattern: As in `backfill`.
            run_id: As in `backfill`.

        Returns:
            The boundaries between the shards; fewer than `count` - 1 if there is too little to divide. An existing plan
            is kept.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed or written.
        """
        from asynccache.ops.shards import make_plan  # noqa: PLC0415 - others do without

        division = selection_of(to, pattern, (1, count), run_id).division(self.settings.packages_dirname)
        return (await make_plan(await self._opening.store(), division, exactly=True)).places


async def listed_packages(
    note: Callable[[str], object],
    *urls: str,
    packages: Iterable[Package],
    lists: Iterable[str | PathLike[str]],
    arches: Iterable[str],
    environment: str | None,
    python: str | None,
    extras: Iterable[str],
    groups: Iterable[str],
    skip_sources: bool,
) -> list[Package]:
    """Read what to cache (see `PackageVerbs.cache`); report what was left out."""
    from asynccache.resolve.formats.locks import read_package_list  # noqa: PLC0415 - other verbs do without
    from asynccache.resolve.formats.text import read_text  # noqa: PLC0415

    everything = [*map(Package.from_url, urls), *packages]
    read = partial(
        read_package_list,
        arches=tuple(arches),
        environment=environment,
        python=python,
        extras=frozenset(extras),
        groups=frozenset(groups) or None,
        skip_sources=skip_sources,
    )
    for path in lists:
        file = fspath(path)
        found = read(file, await in_thread(read_text, file))
        everything += found
        for sentence in found.skipped:
            note(f"left out: {sentence}")
    if not everything:
        raise UsageError("there is nothing to cache", hint="give URLs, or a list with --from FILE")
    return everything


def selection_of(
    to: Format | str, pattern: str | None, shard: Shard | tuple[int, int] | None, run_id: str, keys: str = ""
) -> Selection:
    """Return the packages that a backfill covers (see `PackageVerbs.backfill`)."""
    from asynccache.model.shard import Shard  # noqa: PLC0415 - others do without
    from asynccache.ops.backfill import Selection  # noqa: PLC0415

    return Selection(Format.conda(to), pattern, Shard.of(shard), run_id, keys)
