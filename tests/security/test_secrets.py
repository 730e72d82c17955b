"""Tokens of channels: what other writers keyed by them is found by who knows them, and shown to nobody."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import FetchError, IntegrityError
from asynccache.model.package import Format, Package
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import Wanted
from asynccache.resolve.requests.assemble import Assembled
from asynccache.store.memory import MemoryStore
from tests.ops.resolve_table import ARCH, TableResolver
from tests.support.command_line import run_command
from tests.support.environments import environment_of
from tests.support.small_channel import SyntheticChannel

TOKEN = "tk-SECRETtoken1"
HOST = "http://127.0.0.1:9"  # where nobody answers


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**changed: object) -> Settings:
        given = {"cache_dir": tmp_path / "cache", "datastore_root": tmp_path / "here", "attempts": 1}
        return Settings(store=str(tmp_path / "store"), username="ann", **{**given, **changed})  # type: ignore[arg-type]

    return make


def keyed(path: Path, *, digest: str | None = None) -> str:
    """Return the key that a writer gives an archive whose address holds a token."""
    digest = digest or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    directory = f"packages/conda/127.0.0.1:9/t/{TOKEN}/ch/linux-64/{path.name}"
    return f"{directory}/{path.name}/{digest}/{path.name}"


@pytest.mark.parametrize("known", ["the address", "the settings", None])
async def test_what_was_stored_under_an_address_with_a_token_is_found_by_who_knows_it(
    channel: SyntheticChannel, settings: Callable[..., Settings], known: str | None
) -> None:
    path = channel.paths[1]
    url = f"{HOST}/t/{TOKEN}/ch/linux-64/{path.name}" if known == "the address" else f"{HOST}/ch/linux-64/{path.name}"
    auth = {f"{HOST}/ch": [f"{HOST}/t/{TOKEN}/ch"]} if known == "the settings" else {}
    told: list[events.Event] = []
    async with MemoryStore() as store:
        await store.put(keyed(path), path.read_bytes())
        async with Engine(settings(auth=auth), store=store, emit=told.append) as engine:
            package = Package.from_url(url)
            report = await engine.cache([package], wanted=Format.CONDA, keep_published=True)
        if known is None:
            with pytest.raises(FetchError):
                report.raise_for_failures()
            return
        report.raise_for_failures()
        new = [info.key async for info in store.scan("") if info.key != keyed(path)]
        assert f"packages/conda/127.0.0.1:9/ch/linux-64/{path.name}" in " ".join(new)
        assert await store.get(next(k for k in new if k.endswith(path.name))) == path.read_bytes()
        assert [key for key in new if TOKEN in key] == []
        assert TOKEN not in str([event.as_document() for event in told])


async def test_a_request_that_was_resolved_with_a_token_is_known_to_who_knows_it(
    channel: SyntheticChannel, settings: Callable[..., Settings]
) -> None:
    source, auth = f"{HOST}/ch", {f"{HOST}/ch": [f"{HOST}/t/{TOKEN}/ch"]}
    other = environment_of(channel.packages(HOST, 2), "a", "a")
    there = replace(other.request, sources={"conda": [auth[source][0]]})
    other = replace(other, request=there, id=replace(other.id, req_id=there.req_id), resolved_by="bob")
    asked = replace(there, sources={"conda": [source]})
    assert asked.req_id != there.req_id
    chosen = settings(use_remote_latest=":any:")
    async with Engine(chosen) as engine:
        key = f"envs/{ARCH}/{other.id.req_id}/{other.id.full_id}/env"
        await engine.store.put(
            key, json.dumps(other.as_document() | {"sources": [f"conda::{auth[source][0]}"]}).encode()
        )
    table = TableResolver({"a": []})
    found = await resolve(chosen, [Wanted("a", {ARCH: Assembled(asked, "conda-only", ARCH, auth)})], choose=table)
    assert [environment.id for environment in found.environments] == [other.id]
    assert table.problems == []


def test_keys_of_older_writers_are_shown_without_their_tokens(channel: SyntheticChannel, tmp_path: Path) -> None:
    good, bad = channel.paths[0], channel.paths[1]
    for path, key in ((good, keyed(good)), (bad, keyed(bad, digest="0" * 32))):
        (tmp_path / "st" / key).parent.mkdir(parents=True)
        (tmp_path / "st" / key).write_bytes(path.read_bytes())
    for words in (["ls", "-l"], ["ls", "--json"], ["stat", "--json"], ["verify"], ["verify", "--json"]):
        said = run_command([*words, "--store", "st"], cwd=tmp_path, env=dict(os.environ))
        assert said.returncode == (5 if words[0] == "verify" else 0), said.stderr
        assert TOKEN not in said.stdout + said.stderr
        assert "t/***/ch" in said.stdout + said.stderr or words[0] == "stat"


def test_an_error_holds_no_token_of_a_key() -> None:
    error = IntegrityError(f"{keyed(Path(__file__), digest='0').replace('.py', '.conda')} is damaged")
    assert "/t/***/ch/" in str(error)
    assert TOKEN not in f"{error} {error!r} {error.as_document()}"
