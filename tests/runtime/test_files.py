"""Files of coroutines are read and written whole, and nobody who is cancelled leaves one open."""

import asyncio
import os
from pathlib import Path

import pytest

from asynccache.runtime.files import open_file, read_text, write_text


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    await write_text(tmp_path / "text", "grüße\n")
    assert await read_text(tmp_path / "text") == "grüße\n"
    async with open_file(tmp_path / "text") as file:
        assert await file.readlines(3) == ["grüße\n".encode()]
    with pytest.raises(FileNotFoundError):
        await read_text(tmp_path / "absent")


async def test_a_file_that_is_opened_when_nobody_waits_any_more_is_closed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def read() -> None:
        async with open_file(pipe):
            pytest.fail("it was cancelled before")

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        await asyncio.sleep(0.05)  # it waits for a writer, in its thread
        reading.cancel()
    writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
    try:
        for _ in range(200):
            await asyncio.sleep(0.01)
            try:
                os.write(writer, b"x" * 4096)
            except BrokenPipeError:
                return
        pytest.fail("somebody still has it open for reading")
    finally:
        os.close(writer)
