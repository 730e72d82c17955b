"""Putting archives of an environment's packages into a directory of the caller's choice."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asynccache.config import Settings
from asynccache.hydrate.obtain import Archives
from asynccache.hydrate.packages import package_directories
from asynccache.model.environment import EnvironmentPackage
from asynccache.node.disk import disk_errors
from asynccache.ops.opening import Opening
from asynccache.runtime.tasks import run_together


async def archive_files(
    settings: Settings, packages: Sequence[EnvironmentPackage], directory: Path
) -> list[tuple[str, Path]]:
    """Fetch archives into a directory, verified, from wherever they are; return their (format, path), in the same
    order.

    Raises:
        AsyncCacheError: An archive cannot be obtained, or the disk is full.
    """
    async with Opening(settings) as opening:
        engine = await opening.engine()
        host = engine.host
        archives = Archives(host, engine.sources, package_directories(settings))
        await archives.look_up(packages)

        async def bring(package: EnvironmentPackage, scratch: Path) -> tuple[str, Path]:
            async with host.budgets.in_flight.borrow():
                await host.threads.run(scratch.mkdir)
                obtained = await archives.obtain(package, scratch)
                place = directory / f"{package.filename}{obtained.format}"
                await host.threads.run(_place, obtained.path, place, obtained.path.is_relative_to(scratch))
                return obtained.format, place

        with disk_errors(directory):
            await host.threads.run(os.makedirs, directory, 0o777, True)
            with tempfile.TemporaryDirectory(prefix=".asynccache-", dir=directory) as name:
                return await run_together(
                    [bring(package, Path(name) / str(number)) for number, package in enumerate(packages)]
                )


def _place(path: Path, place: Path, ours: bool) -> None:
    """Move an archive to its destination, whole or not at all; one in a shared directory is copied."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    if ours:
        path.replace(temporary)
    else:
        shutil.copyfile(path, temporary)
    temporary.replace(place)
