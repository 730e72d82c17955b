"""Files that a coroutine reads or writes by itself, without holding up the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from aiofiles.threadpool import wrap

from asynccache.runtime.late_loop import loop_begins

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase


@asynccontextmanager
async def open_file(path: Path, mode: Literal["rb", "wb"] = "rb") -> AsyncIterator[AsyncBufferedIOBase]:
    """Open a file for the length of the block.

    `aiofiles.open` leaks the file if the caller is cancelled while it is opened; this function closes it.

    Args:
        path: The file.
        mode: To read it, or to write it from its beginning.

    Raises:
        OSError: It cannot be opened.
    """
    await loop_begins()
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, path.open, mode)
    try:
        file = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    try:
        yield cast("AsyncBufferedIOBase", wrap(file, loop=loop))
    finally:
        await asyncio.shield(loop.run_in_executor(None, file.close))


async def read_text(path: Path) -> str:
    """Return the text of a file, UTF-8.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is not text.
    """
    async with open_file(path) as file:
        return (await file.read()).decode()


async def write_text(path: Path, text: str) -> None:
    """Write a text into a file, UTF-8.

    Raises:
        OSError: It cannot be written.
    """
    async with open_file(path, "wb") as file:
        await file.write(text.encode())


def _close(opening: asyncio.Future[BinaryIO]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
