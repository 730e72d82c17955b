"""Modules of the standard library that are loaded when they are used are what they are without that."""

from __future__ import annotations

import subprocess
import sys

_BEGIN = """
import sys, threading, types
from asynccache_cli import postponed
postponed.postpone()
"""
_NOT_BEFORE = """
import asyncio, asyncio, ssl
assert "asyncio.base_events" not in sys.modules and "_ssl" not in sys.modules
async def main():
    return asyncio.current_task() is not None
assert asyncio.run(main())
assert type(asyncio) is types.ModuleType and asyncio.__path__ and asyncio.__spec__.name == "asyncio"
"""
_PARTS_FIRST = """
from asyncio.events import AbstractEventLoop
from asyncio import get_running_loop
import ctypes.util, asyncio
assert asyncio.events.AbstractEventLoop is AbstractEventLoop and ctypes.CDLL
"""
_THREADS = """
import ssl, tempfile, configparser
start, failed = threading.Barrier(6), []
def use():
    start.wait()
    try:
        ssl.create_default_context(), tempfile.gettempdir(), configparser.RawConfigParser()
    except BaseException as exc:
        failed.append(exc)
threads = [threading.Thread(target=use) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed
"""
_INSTEAD = """
import inspect, platform, uuid
texts = ["", " ", "a", " a", "a  ", "\\ta\\tb", "  a b  "]
cleaned, system = [inspect.cleandoc(text) for text in texts], platform.system()
assert type(inspect) is not types.ModuleType and type(platform) is not types.ModuleType
assert inspect.cleandoc("a\\n  b\\n    c") == "a\\nb\\n  c" and type(inspect) is types.ModuleType
assert cleaned == [inspect.cleandoc(text) for text in texts]
assert platform.python_version() and type(platform) is types.ModuleType and platform.system() == system
"""


def _run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", _BEGIN + code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_is_loaded_when_it_is_used_and_not_before() -> None:
    _run(_NOT_BEFORE)


def test_parts_of_a_module_can_be_imported_first() -> None:
    _run(_PARTS_FIRST)


def test_threads_that_use_a_module_at_once_all_see_the_whole() -> None:
    _run(_THREADS)


def test_what_stands_for_a_function_of_a_module_says_what_the_function_says() -> None:
    _run(_INSTEAD)
