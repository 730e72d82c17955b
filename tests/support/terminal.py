"""A terminal that a command writes to, and that returns what a user would see on it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pyte

SECONDS = 45.0  # for what comes at once on a machine that does nothing else


class Terminal:
    """A terminal of some columns with a process whose standard error it is.

    Attributes:
        process: Which writes to it.
        seen: All that was written.
    """

    def __init__(self, process: asyncio.subprocess.Process, fd: int, columns: int, lines: int) -> None:
        self.process = process
        self.seen = b""
        self._fd = fd
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._came = asyncio.Event()
        self._ended = asyncio.Event()
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._read)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the empty lines at its end."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    async def shows(self, holds: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the lines of the screen are such; return them."""
        try:
            async with asyncio.timeout(SECONDS):
                while not holds(self.lines):
                    assert not self._ended.is_set(), self.lines
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"after {SECONDS:g} seconds the screen shows {self.lines}") from None
        return self.lines

    async def end(self) -> int:
        """Wait for the process and for all that it wrote; return its exit code."""
        async with asyncio.timeout(SECONDS):
            code = await self.process.wait()
            await self._ended.wait()
        return code

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:  # the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._ended.set()
        self.seen += data
        self._stream.feed(data)
        self._came.set()


def _heeds_interrupts() -> None:
    """What a shell starts in the background ignores them, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def terminal(
    command: Sequence[str], environment: Mapping[str, str], *, columns: int = 80, lines: int = 24
) -> AsyncIterator[Terminal]:
    """Run a command whose standard error is a terminal; it is killed in the end."""
    ours, its = pty.openpty()
    try:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=its,
            env=environment,
            preexec_fn=_heeds_interrupts,
        )
        os.close(its)
        shown = Terminal(process, ours, columns, lines)
        try:
            yield shown
        finally:
            asyncio.get_running_loop().remove_reader(ours)
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        os.close(ours)
