"""Ports of 127.0.0.1 for servers that must be given one.

A server that may choose binds port 0: the kernel gives it a port that is its own from then on. One that must be told
can lose its port to another program between the choice and its start, so it is started again with others.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final, TypeVar

import psutil  # type: ignore[import-untyped]

# Below what the kernel gives to connections (from 32,768 on), and so that what is an offset above is so, too.
LOWEST: Final = 11_000
HIGHEST: Final = 20_999
OFFSET: Final = 10_000  # above each of its ports, where SeaweedFS listens as well
_TRIES: Final = 5

_Server = TypeVar("_Server")


class PortTakenError(Exception):
    """A server did not come up, since another program has one of its ports."""


def free_ports(count: int) -> list[int]:
    """Return ports without a listener, now, nor on those `OFFSET` above them."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = LOWEST + secrets.randbelow(HIGHEST + 1 - LOWEST)
            try:
                for each in (port, port + OFFSET):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
            ports.append(port)
        return ports


@contextmanager
def on_free_ports(count: int, start: Callable[[Sequence[int]], AbstractContextManager[_Server]]) -> Iterator[_Server]:
    """Run a server on unused ports; take others if one of them was taken in the meantime.

    Args:
        count: How many it needs.
        start: Given the ports, starts the server when entered and stops it when left; raises `PortTakenError` when
            it does not come up because of them.

    Raises:
        PortTakenError: That happened five times.
    """
    with ExitStack() as stack:
        for tries_left in reversed(range(_TRIES)):
            try:
                server = stack.enter_context(start(free_ports(count)))
                break
            except PortTakenError:
                if not tries_left:
                    raise
        yield server


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def taken_by_others(ports: Sequence[int], pid: int) -> list[int]:
    """Return those of the ports on which other processes than this one listen; its children count as the process."""
    # asked first: a port that the process opens in between is its own by the time that is looked at
    listening = [port for port in ports if _somebody_listens(port)]
    try:
        process = psutil.Process(pid)
        own = {
            connection.laddr.port
            for each in (process, *process.children(recursive=True))
            for connection in each.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    except psutil.NoSuchProcess:
        own = set()
    return [port for port in listening if port not in own]


def _somebody_listens(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(1)
        return not asking.connect_ex(("127.0.0.1", port))
