"""Threads share the C library's arenas."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, tempfile, threading
from asynccache.runtime.arenas import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
barrier = threading.Barrier(6)
def work():
    block = bytes(100_000)
    barrier.wait(60)
threads = [threading.Thread(target=work) for _ in range(6)]
for each in threads: each.start()
for each in threads: each.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap nr="))
"""


def _arenas(how: str, **environment: str) -> int:
    words = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_threads_share_two_arenas_unless_the_user_says_how_many() -> None:
    assert _arenas("shared") <= 2
    assert _arenas("as they are") > 2
    assert _arenas("shared", MALLOC_ARENA_MAX="4") > 2
