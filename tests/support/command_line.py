"""Runs a command as a process of its own, without the time in which libraries are imported.

    done = run_command(["ls", "--store", "st"], cwd=directory, env=variables)

A process in which the libraries of others are imported forks one for each command: that imports our modules, opens its
streams, handles signals and ends as `asynccache` does. What is read when Python starts (`PYTHONPATH` and its like) has
no effect; tests of that, of signals and of imports start the program itself. What it prints with `--json` is held to
its schema.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.command_parent import LENGTH
from tests.support.json_output import check_json
from tests.support.shared import not_counted

ASYNCCACHE: Final = str(Path(sys.executable).with_name("asynccache"))
_PROGRAM: Final = Path(__file__).with_name("command_parent.py")
_one_at_a_time: Final = threading.Lock()


def run_command(
    words: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: str | None = None,
    timeout: float = 100.0,
) -> subprocess.CompletedProcess[str]:
    """Run `asynccache` with these words and variables, and return how it ended and what it printed.

    Raises:
        subprocess.TimeoutExpired: It took longer than `timeout` seconds, and was killed.
    """
    arguments = [ASYNCCACHE, *map(str, words)]
    request = json.dumps([arguments, str(cwd), dict(env)]).encode()
    answers, answering = os.pipe()
    with open(answers, "rb", buffering=0) as reader, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # noqa: PTH123
        with tempfile.TemporaryFile() as given:
            given.write((stdin or "").encode())
            given.seek(0)
            parent = _parent()
            with _one_at_a_time:
                files = [given.fileno(), out.fileno(), err.fileno(), answering]
                socket.send_fds(parent, [LENGTH.pack(len(request))], files)
                parent.sendall(request)
            os.close(answering)
        pid = int(reader.readline())
        ended = False
        try:
            ended = bool(select.select([reader], [], [], timeout)[0])
        finally:
            if not ended:
                os.kill(pid, signal.SIGKILL)
        if not ended:
            raise subprocess.TimeoutExpired(arguments, timeout)
        code = int(reader.readline())
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    check_json(arguments[1:], code, *said)
    return subprocess.CompletedProcess(arguments, code, *said)


def items_of(printed: str) -> list[dict[str, Any]]:
    """Return the items that a command printed with `--json`; the last line has to be the result that counts them."""
    *items, result = (json.loads(line) for line in printed.splitlines())
    assert {item["type"] for item in items} <= {"item"}
    assert (result["type"], result["count"]) == ("result", len(items))
    return items


@functools.cache
def _parent() -> socket.socket:
    """Start the process that forks the others; it ends when this one does."""
    ours, theirs = socket.socketpair()
    with theirs:
        number = theirs.fileno()
        # -P: the names of modules beside this one are also names of libraries
        words = [sys.executable, "-P", str(_PROGRAM), str(number)]
        process = subprocess.Popen(words, pass_fds=[number], stdin=subprocess.DEVNULL)
    with not_counted():
        if not ours.recv(1):
            raise RuntimeError("the libraries of the command line cannot be imported")

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours
