"""Servers that must be told their ports come up although others take ports at any moment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import ports as ports_module
from tests.support.object_servers import ObjectServer, has_module, moto_server, weed_binary, weed_server
from tests.support.ports import OFFSET, PortTakenError, closed_port, free_ports, on_free_ports, taken_by_others


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def test_free_ports_are_distinct_and_can_be_bound() -> None:
    found = free_ports(5)
    assert len(set(found)) == 5
    with ExitStack() as stack:
        for port in found:
            for each in (port, port + OFFSET):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", each))


def test_free_ports_are_none_that_the_kernel_gives_to_connections() -> None:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        pytest.skip("needs /proc")
    lowest = int(path.read_text("ascii").split()[0])
    assert max(free_ports(20)) + OFFSET < lowest


def test_other_ports_are_tried_when_one_was_taken() -> None:
    tried: list[Sequence[int]] = []

    @contextmanager
    def server(ports: Sequence[int]) -> Iterator[str]:
        tried.append(ports)
        if len(tried) < 3:
            raise PortTakenError
        yield "up"

    with on_free_ports(2, server) as up:
        assert up == "up"
    assert len({tuple(ports) for ports in tried}) == 3


def test_a_server_that_finds_no_port_is_given_up() -> None:
    tried: list[Sequence[int]] = []

    def server(ports: Sequence[int]) -> AbstractContextManager[None]:
        tried.append(ports)
        raise PortTakenError

    with pytest.raises(PortTakenError), on_free_ports(1, server):
        pass
    assert len(tried) == 5


def test_what_fails_for_other_reasons_is_not_tried_again() -> None:
    def server(ports: Sequence[int]) -> AbstractContextManager[None]:
        raise RuntimeError(f"no room on {len(ports)}")

    with pytest.raises(RuntimeError, match="no room on 1"), on_free_ports(1, server):
        pass


def test_the_ports_of_others_are_told_from_those_of_a_process(listener: int) -> None:
    with closed_port() as closed, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert taken_by_others([listener, closed], other.pid) == [listener]
        assert taken_by_others([listener, closed], os.getpid()) == []
        other.kill()


@pytest.mark.parametrize("name", ["moto", "weed"])
def test_a_server_comes_up_although_its_first_port_is_taken(
    name: str, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (weed_binary() if name == "weed" else has_module("moto")):
        pytest.skip(f"{name} is not installed")
    choose, chosen = ports_module.free_ports, list[list[int]]()

    def unlucky(count: int) -> list[int]:
        chosen.append(choose(count) if chosen else [listener, *choose(count - 1)])
        return chosen[-1]

    monkeypatch.setattr(ports_module, "free_ports", unlucky)
    with (weed_server if name == "weed" else moto_server)() as server:
        assert isinstance(server, ObjectServer)
        assert server.url.endswith(f":{chosen[1][0]}")
        server.create_bucket("mine")
    assert len(chosen) == 2
    assert not server.directory.exists()
    left = [path.name for path in Path("/tmp").glob("seaweedfs-*.sock") if any(f"-{p}" in path.name for p in chosen[1])]
    assert left == []
