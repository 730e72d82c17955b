"""Verbs on packages: cache, transmute, backfill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened
from asynccache.errors import UsageError
from asynccache.model.package import Format, Package

if TYPE_CHECKING:
    from asynccache.engine.pipeline import Job
    from asynccache.engine.report import Report
    from asynccache.ops.backfill import Backfilled
    from asynccache.ops.transmute_files import Conversion, Conversions


class PackageVerbs(Opened):
    """What is done with packages."""

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

        The setting `preferred_format` says which form of conda packages is stored. Says what was left out of a list.

        Args:
            urls: Of packages, with a digest as fragment where it is known: `URL#MD5`, `URL#sha256=DIGEST`.
            packages: Further ones.
            lists: Files that name further ones: lists and locks; `-` for standard input.
            arches: conda platforms to take from locks; none for this machine's.
            environment: Environment to take from a pixi.lock.
            python: Version that wheels in a lock are chosen for; None for the running one.
            extras: Extras to take from a lock as well.
            groups: Dependency groups to take from a lock; none for its default ones.
            skip_sources: Leave out what is no archive instead of refusing the list.
            keep_published: Store the published form as well as the preferred one.

        Returns:
            The receipt, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: A URL is none of a package, a list cannot be read, or there is nothing to cache.
            StoreError: The store cannot be used.
        """
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
            found = read(file, await asyncio.to_thread(read_text, file))
            everything += found
            for sentence in found.skipped:
                self._tell(f"left out: {sentence}")
        if not everything:
            raise UsageError("there is nothing to cache", hint="give URLs, or a list with --from FILE")
        engine = await self._opening.engine(writing=True)
        return await engine.cache(everything, wanted=self.settings.wanted_format, keep_published=keep_published)

    async def transmute(
        self,
        *files: str | PathLike[str],
        to: Format | str,
        out: str | PathLike[str] | None = None,
        done: Callable[[Conversion], object] | None = None,
    ) -> Conversions:
        """Convert local conda packages between their two forms, exactly (see `asynccache transmute`).

        The settings `zstd_level`, `verify_transmute` and `cpu_slots` say how. No store is opened.

        Args:
            files: Archives.
            to: `.conda` or `.tar.bz2`.
            out: Directory for the results, made when it is not there; None for beside each source.
            done: Told of each file as it ends.

        Returns:
            What became of each file, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: There is no such form.
            DiskError: `out` cannot be made.
        """
        from asynccache.ops.transmute_files import transmute_files  # noqa: PLC0415 - other verbs do without

        paths, directory = [Path(file) for file in files], None if out is None else Path(out)
        return await transmute_files(self.settings, paths, Format.conda(to), out=directory, done=done)

    async def backfill(
        self,
        to: Format | str,
        *,
        pattern: str | None = None,
        shard: tuple[int, int] | None = None,
        resume: bool = False,
        dry_run: bool = False,
        found: Callable[[Job], object] | None = None,
    ) -> Backfilled:
        """Give every conda package of the store its other form, beside the published one.

        Args:
            to: `.conda` or `.tar.bz2`: the form to make.
            pattern: Only packages whose file name (or key, with a slash) matches.
            shard: (I, N): the I-th of N parts, from 1.
            resume: Go on where the last interrupted run on this machine stopped, its failures first.
            dry_run: Only find what would be done.
            found: Told of each package that would be converted, in a dry run.

        Returns:
            What there was to do and what was done, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: There is no such form or shard.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.backfill import Backfill, Backfilled, Journal, Selection  # noqa: PLC0415 - others do without

        selection = Selection(Format.conda(to), pattern, shard)
        engine = await self._opening.engine()
        backfill = Backfill(engine, selection)
        if not dry_run:
            return Backfilled(engine.store.address, backfill.plan, await backfill.run(resume=resume))
        async for job in backfill.todo(Journal(backfill.journal_path)):
            if found is not None:
                found(job)
        return Backfilled(engine.store.address, backfill.plan)
