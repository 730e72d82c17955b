"""Directories that last as long as a block of code."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asynccache.node.disk import disk_errors


@asynccontextmanager
async def scratch_directory(prefix: str, parent: Path | None = None) -> AsyncIterator[Path]:
    """Make a directory that only this user can read, and remove it with all that is in it when the block ends.

    What a killed process leaves in the workspace is swept as other work is.

    Args:
        prefix: Start of its name.
        parent: Where it lies, made when absent; the system's temporary directory when None.

    Raises:
        DiskError: It cannot be made.
    """

    def make() -> Path:
        with disk_errors(parent or tempfile.gettempdir()):
            if parent is not None:
                parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))

    path = await asyncio.to_thread(make)
    try:
        yield path
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))
