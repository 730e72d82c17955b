"""The program that imports the libraries of others, and forks a process for each command (see `command_line`).

Given the number of a connected socket, it sends a byte when it is ready. A request is its length and a JSON list of
arguments, directory and variables, with four files: three streams, and where the process's number and exit code go.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import socket
import struct
import sys
import tempfile
from typing import Final

LENGTH: Final = struct.Struct("!I")
_LIBRARIES: Final = (
    "aiobotocore.session", "aiofiles", "aiohttp", "asyncio", "botocore.session", "click", "conda_package_handling.api",
    "indexed_bzip2", "packaging.requirements", "rattler", "rich.progress", "sqlite3", "uvloop", "yaml", "zstandard",
)  # fmt: skip


def _await_request(parent: socket.socket) -> None:
    """Fork for each request, and return in the process that is to be the command."""
    while True:
        header, files, _flags, _address = socket.recv_fds(parent, LENGTH.size, 4)
        if not header:
            sys.exit()
        left = LENGTH.unpack(header)[0]
        request = b""
        while len(request) < left:
            request += parent.recv(left - len(request))
        if not os.fork():
            break
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    parent.close()
    *streams, answering = files
    if pid := os.fork():
        for stream in streams:
            os.close(stream)
        os.write(answering, b"%d\n" % pid)
        os.write(answering, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.close(answering)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv, directory, variables = json.loads(request)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(directory)
    tempfile.tempdir = None


def _end(code: int) -> None:
    """End at once: Python would free, and the kernel copy, all that was there before."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for library in _LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # else each command would copy the pages of all that is there
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.send(b"+")
    _await_request(connection)
    from asynccache_cli.main import main

    status = 1
    atexit.register(lambda: _end(status))  # called last
    try:
        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
        raise
