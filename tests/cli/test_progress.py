"""What somebody sees while a command works, on a terminal and in a log."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import pytest

from asynccache.api import events
from asynccache.store.base import ObjectInfo
from asynccache.store.stored import StoredArchive
from asynccache_cli.progress import Counter, HydrateDisplay, ProgressDisplay
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.small_channel import SyntheticChannel, write_small_channel
from tests.support.terminal import terminal

COLOURS = "\x1b[3"  # how a colour begins


@pytest.fixture
def small(tmp_path: Path) -> SyntheticChannel:
    return write_small_channel(tmp_path / "channel")


@pytest.fixture
async def stalled(small: SyntheticChannel) -> AsyncIterator[FaultServer]:
    """Sends half of each package."""
    async with FaultServer(small.root, faults=[Fault(Kind.STALL_BODY)]) as server:
        yield server


def caching(
    tmp_path: Path, small: SyntheticChannel, server: FaultServer, **variables: str
) -> tuple[list[str], dict[str, str]]:
    urls = [str(package.url) for package in small.packages(server.url, 3)]
    command = [sys.executable, "-m", "asynccache_cli", "cache", *urls, "--store", str(tmp_path / "store")]
    environment = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "TERM", "COLUMNS"}}
    return command, environment | {"TERM": "xterm-256color", "ASYNCCACHE_CACHE_DIR": str(tmp_path / "c"), **variables}


def half_is_there(lines: list[str]) -> bool:
    """Tell whether all bars are drawn, and that of what is fetched knows how much will come."""
    return [line.split()[0] for line in lines if line] == ["fetch", "transmute", "upload", "packages"] and (
        "/" in lines[0] and "iB" in lines[0]
    )


@pytest.mark.parametrize("columns", [60, 120])
async def test_bars_show_how_much_the_server_said_will_come_and_vanish_at_an_interrupt(
    tmp_path: Path, small: SyntheticChannel, stalled: FaultServer, columns: int
) -> None:
    command, environment = caching(tmp_path, small, stalled)
    async with terminal(command, environment, columns=columns) as shown:
        await shown.shows(half_is_there)  # a screen is read while it is written: one that is not whole is no answer
        shown.process.send_signal(signal.SIGINT)
        assert await shown.end() == 130
        said = "interrupted: what is complete stays; run the same command again to continue"
        assert [line.strip() for line in shown.lines] == [
            part.strip() for part in (said[:columns], said[columns:]) if part
        ]
        assert COLOURS.encode() in shown.seen


async def test_without_colours_bars_have_none(tmp_path: Path, small: SyntheticChannel, stalled: FaultServer) -> None:
    command, environment = caching(tmp_path, small, stalled, NO_COLOR="1")
    async with terminal(command, environment) as shown:
        await shown.shows(half_is_there)
        assert COLOURS.encode() not in shown.seen


def told(display: ProgressDisplay | HydrateDisplay) -> str:
    for event in (
        events.RunStarted(4, 0),
        events.PhaseStarted("fetch", "a", None),
        events.BytesMoved("fetch", "a", 1024),
        events.SizeKnown("fetch", "a", 1024),
        events.PhaseStarted("fetch", "b", 2048),
    ):
        display.take(event)
    return display.line(9.0)


@pytest.mark.parametrize("kind", [ProgressDisplay, HydrateDisplay])
def test_where_no_cursor_moves_lines_say_how_much_of_how_much_how_fast_and_how_long(
    kind: type[ProgressDisplay | HydrateDisplay], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("asynccache_cli.progress._SHOW_AFTER", 0.0)
    monkeypatch.setattr(kind, "line_every", 0.0)
    with click.Context(click.Command("cache")).scope(), kind() as display:
        line = told(display)
    assert re.search(r"0/4 packages[;,] (fetch )?1\.0/4\.0 KiB", line)
    assert re.search(r"iB/s, about .* left$", line)
    written = capsys.readouterr().err
    assert "\r" not in written
    assert "\x1b" not in written
    assert "1.0 KiB" in written


def test_what_is_verified_has_a_total_once_it_was_counted_and_says_so_before() -> None:
    key = "packages/conda/h/ch/noarch/a-1-0.conda/a-1-0.conda/" + "0" * 32 + "/a-1-0.conda"
    archive = StoredArchive.listed(ObjectInfo(key, 1024))
    assert archive is not None
    with click.Context(click.Command("verify")).scope(), Counter() as display:
        display.add(archive)
        assert display.line(1.0) == "1 verified, 1.0 KiB, 1.0 KiB/s, total not counted yet"
        assert display.wants is not None
        display.wants(4, 4096)
        assert display.line(1.0) == "1/4 verified, 1.0/4.0 KiB, 1.0 KiB/s, 3 s left"
    with click.Context(click.Command("verify"), obj=None).scope() as context:
        context.meta["asynccache"] = {"json": True}
        assert Counter().wants is None  # nobody need count for what shows nothing
