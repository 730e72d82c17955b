"""The processes that decode bzip2: started when they pay off, reused for file after file, ended when idle.

A process of its own contains whatever a hostile archive may do to native code, and has its own GIL. Starting one costs
some 25 ms of CPU, as much as it saves on 1 MiB of archive; so one is kept for the next file once its file was whole. A
child that failed, or whose file was given up, is ended and never used again.
"""

from __future__ import annotations

import atexit
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from asynccache.archive._bzip2_child import COUNT_BYTES, JOB_BYTES, SLOT, WHOLE

SLOTS: Final = 2  # of a child's memory
_BLOCK: Final = 1 << 20  # bytes
_SCRIPT: Final = Path(__file__).with_name("_bzip2_child.py")
_STALL_SECONDS: Final = 300.0  # without a block, which takes a second at most on a core of its own
_END_SECONDS: Final = 5.0  # for a child to notice that its socket was closed


class ChildFailedError(Exception):
    """The child could not be started, died, or says that not every bit of the file was in its place."""


class Child:
    """One process, and the memory it decodes to.

    Args:
        decoder: File of the fast decoder's module.

    Raises:
        ChildFailedError: It cannot be started.
    """

    def __init__(self, decoder: str) -> None:
        ours, theirs = socket.socketpair()
        self._link = ours
        ours.settimeout(_STALL_SECONDS)
        with theirs, _shared_memory(SLOTS * SLOT) as memory:
            self._ring = mmap.mmap(memory.fileno(), SLOTS * SLOT)
            descriptors = (theirs.fileno(), memory.fileno())
            command = [sys.executable, "-I", "-S", str(_SCRIPT), decoder, *map(str, descriptors), str(SLOTS)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module, with an argument list
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=descriptors,
                )
            except OSError as exc:
                ours.close()
                self._ring.close()
                raise ChildFailedError from exc

    def decoded(self, own: int, position: int, end_bit: int, slots: int) -> Iterator[bytes]:
        """Yield the content of a bzip2 file in blocks of up to 1 MiB.

        Args:
            own: Descriptor of the file.
            position: Another one of it, with a position of its own, which follows the child's.
            end_bit: At which the last end mark of the file starts.
            slots: How many stretches of 1 MiB may be decoded ahead, 1 or 2.

        Raises:
            ChildFailedError: What was yielded so far is worth nothing.
        """
        size = slots * SLOT
        start = 0
        try:
            socket.send_fds(self._link, [end_bit.to_bytes(JOB_BYTES - 1, "little") + bytes([slots])], [own, position])
            while count := int.from_bytes(self._received(COUNT_BYTES), "little"):
                if count > SLOT:
                    raise ChildFailedError
                for at in range(start, start + count, _BLOCK):
                    yield self._ring[at : min(at + _BLOCK, start + count)]
                self._link.sendall(b"\0")
                start = (start + SLOT) % size
            if self._received(len(WHOLE)) != WHOLE:
                raise ChildFailedError
        except OSError as exc:
            raise ChildFailedError from exc

    def _received(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._link.recv(count - len(data))
            if not more:
                raise ChildFailedError
            data += more
        return data

    def end(self, *, now: bool) -> None:
        """End the process: at once, or by letting it see that its socket is closed."""
        self._link.close()
        self._ring.close()
        if now:
            self._process.kill()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_idle: list[Child] = []
_lock = threading.Lock()


def acquire(decoder: str) -> Child:
    """Return an idle child, or a new one; give it back with `release`, or end it.

    Raises:
        ChildFailedError: None can be started.
    """
    with _lock:
        if _idle:
            return _idle.pop()
    return Child(decoder)


def release(child: Child) -> None:
    """Keep a child whose file was whole for the next one."""
    with _lock:
        if len(_idle) < (os.cpu_count() or 1):
            _idle.append(child)
            return
    child.end(now=False)


def available() -> bool:
    """Whether a child is idle."""
    return bool(_idle)


def end_idle() -> None:
    """End the children that wait for a file. Blocking, for some milliseconds."""
    with _lock:
        children = list(_idle)
        _idle.clear()
    for child in children:
        child.end(now=False)


def _forget() -> None:
    """In a fork of this process the children are not its own; they are kept from being collected there."""
    global _lock  # noqa: PLW0603 - the fork may have happened while another thread held it
    _lock = threading.Lock()
    _inherited.extend(_idle)
    _idle.clear()


_inherited: list[Child] = []
atexit.register(end_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _shared_memory(size: int) -> IO[bytes]:
    """Return a file of `size` bytes without a name, in memory where the system can."""
    if sys.platform == "linux":
        file: IO[bytes] = open(os.memfd_create("asynccache-bzip2"), "wb+")  # noqa: PTH123, SIM115 - the caller's
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.truncate(size)
    return file
