"""A store that goes away in the middle of a command and comes back is waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web

from tests.store.fault_proxy import Fault, FaultProxy, Reset
from tests.support.background import in_background
from tests.support.command_line import run_command
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.small_channel import SyntheticChannel

pytestmark = pytest.mark.xdist_group("object-servers")
AWAY_SECONDS = 0.6  # more than the pauses of all tries that a store has which never answered


@pytest.fixture
def proxy(weed: ObjectServer) -> Iterator[FaultProxy]:
    with in_background(FaultProxy(weed.url)) as proxy:
        yield proxy


def leaves_at(proxy: FaultProxy, number: int) -> list[asyncio.Task[None]]:
    """Have the server go away when it is asked for the nth time; return what then brings it back."""
    under_way: list[asyncio.Task[None]] = []
    asked = 0

    def script(_request: web.BaseRequest) -> Fault | None:
        nonlocal asked
        asked += 1
        if asked == number:
            under_way.append(asyncio.ensure_future(proxy.go_away(AWAY_SECONDS)))
        return Reset() if asked >= number and not under_way[0].done() else None

    proxy.script = script
    return under_way


def test_a_store_that_goes_away_in_the_middle_of_a_command_is_waited_for(
    channel: SyntheticChannel, weed: ObjectServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    packages = channel.packages(channel.root.as_uri())[:6]
    listed.write_text("@EXPLICIT\n" + "".join(f"{p.url}#sha256:{p.digests.sha256}\n" for p in packages))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "ASYNCCACHE_CACHE_DIR": str(tmp_path / "cache"),
        "ASYNCCACHE_STORE": f"s3://{BUCKET}/{uuid4().hex}", "ASYNCCACHE_S3_ENDPOINT_URL": proxy.url,
        "ASYNCCACHE_RETRY_CAP": "0.1", **weed.environment,
    }  # fmt: skip
    prefix = tmp_path / "prefix"
    for words, number in (
        (["cache", "--from", str(listed)], 4),
        (["env", "import", str(listed), "--alias", "team/env:v1"], 4),
        (["env", "alias", "team/env:v1", "team/env:latest"], 9),
        (["env", "history", "team/env:latest"], 2),
        (["env", "show", "team/env:v1"], 2),
        (["pack", "team/env:v1"], 2),
        (["create", "team/env:latest", "--prefix", str(prefix), "--cache-dir", str(tmp_path / "another-node")], 2),
        (["warm", "--env", "team/env:v1", "--to", "both"], 2),
        (["backfill", "--to", ".tar.bz2"], 5),
        (["verify"], 3),
    ):
        went = leaves_at(proxy, number)
        done = run_command(words, cwd=tmp_path, env=environment)
        assert done.returncode == 0, (words, done.stderr)
        assert went, words
        assert went[0].done(), words
    assert list((prefix / "conda-meta").glob("*.json"))
