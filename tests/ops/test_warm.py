"""Warm brings what environments need together, once, verified; and a second time there is nothing to do."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.workspace import Workspace
from asynccache.errors import FetchRefusedError, IntegrityError, LockTimeoutError, PartialFailureError
from asynccache.hydrate.package_directory import LOCK, PackageDirectory
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.package import Format
from asynccache.model.root import StoreRoot
from asynccache.model.shard import Shard
from asynccache.ops.catalog import Catalog
from asynccache.ops.readiness import Readiness
from asynccache.ops.verify_environments import verify_environments
from asynccache.ops.warm import Target, Warm
from asynccache.store.base import BytesMoved
from asynccache.store.memory import MemoryStore
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in, damaged_in


@pytest.fixture
def settings(configured: Settings, tmp_path: Path) -> Settings:
    return replace(configured, datastore_root=tmp_path / "here", username="ann")


@pytest.fixture
async def server(channel: SyntheticChannel) -> AsyncIterator[FaultServer]:
    async with FaultServer(channel.root) as serving:
        yield serving


async def warm(
    settings: Settings,
    environments: Sequence[ResolvedEnvironment],
    to: Target = "remote",
    wanted: Format | None = None,
    *,
    aside: bool = False,
    verify: bool = True,
) -> Readiness:
    async with Engine(settings) as engine, Engine(replace(settings, store=None)) as other:
        catalog = Catalog(settings, engine.store)
        warming = Warm(engine, catalog, to=to, wanted=wanted, fetch_with=other if aside else None, verify=verify)
        return await warming.run([(str(e.id), e) for e in environments])


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


async def test_environments_that_share_packages_are_one_run_and_each_package_is_fetched_once(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    packages = channel.packages(server.url, 14)
    environments = [environment_of(packages[:10], "a", "b"), environment_of(packages[4:], "a", "c")]
    readiness = await warm(settings, environments)
    assert [(r.complete, r.packages, r.verified, r.ready, r.published) for r in readiness.rows] == [
        (10, 10, 10, True, True)
    ] * 2
    assert readiness.distinct == 14
    assert readiness.fetched_bytes == sum(p.digests.size or 0 for p in packages)
    assert sorted(r.path for r in server.requests) == sorted(f"/linux-64/{p.filename}" for p in packages)
    assert len(readiness.reports) == 1
    assert all(sum(row.sources.values()) == 10 for row in readiness.rows)
    assert damaged_in(tmp_path / "store") == []


async def test_shards_bring_each_package_once_and_the_last_one_publishes(
    channel: SyntheticChannel, server: FaultServer, settings: Settings
) -> None:
    environments = [environment_of(channel.packages(server.url, 14))]
    done = []
    for index in (2, 3, 1):
        async with Engine(settings) as engine:
            warming = Warm(engine, Catalog(settings, engine.store), to="remote", shard=Shard(index, 3))
            done.append(await warming.run([(str(e.id), e) for e in environments]))
    assert sum(each.distinct for each in done) == len(server.requests) == 14
    assert all(each.rows[0].ready and each.distinct > 2 for each in done)
    assert [each.rows[0].published for each in done] == [False, False, True]
    assert [each.elsewhere > 0 for each in done] == [True, True, False]


@pytest.mark.parametrize("to", ["remote", "local", "both"])
async def test_a_second_warm_finds_everything_and_reads_nothing(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, to: Target
) -> None:
    environments = [environment_of(channel.packages(server.url, 12))]
    (await warm(settings, environments, to)).raise_for_failures()
    server.requests.clear()
    again = await warm(settings, environments, to)
    assert again.rows[0].ready
    assert (server.requests, again.reports, again.checked_bytes) == ([], [], 0)
    assert again.rows[0].sources == {"node" if to != "remote" else "store": 12}


async def test_what_a_run_left_that_was_killed_after_it_had_published_a_package_is_removed_by_the_next_one(
    channel: SyntheticChannel, server: FaultServer, settings: Settings
) -> None:
    packages = channel.packages(server.url, 4)
    await warm(settings, [environment_of(packages)])
    workspace = Workspace(settings.cache_dir)
    left = workspace.prepare(packages[0].url)
    (left / "archive.conda").write_bytes(b"whole")
    in_use = workspace.prepare(packages[1].url)
    async with workspace.locks.hold(workspace.name(packages[1].url)):  # by another process: nobody waits for it
        await warm(replace(settings, lock_timeout=2.0), [environment_of(packages)])
    assert not left.exists()
    assert in_use.exists()


async def test_what_was_verified_on_one_server_is_read_again_on_another_of_the_same_address(
    channel: SyntheticChannel, server: FaultServer, settings: Settings
) -> None:
    class OnServer(MemoryStore):
        endpoint = "http://one"

        @property
        def root(self) -> StoreRoot:
            return StoreRoot("s3", "team", "envs", self.endpoint)

    store = OnServer("s3://team/envs")
    environments = [environment_of(channel.packages(server.url, 4))]
    checked = []
    for store.endpoint in ("http://one", "http://one", "http://two", "http://one"):
        async with Engine(settings, store=store) as engine:
            catalog = Catalog(settings, store)
            warming = Warm(engine, catalog, to="remote", wanted=None, verify=True)
            checked.append((await warming.run([("a", each) for each in environments])).checked_bytes)
    assert checked == [0, 0, sum(p.digests.size or 0 for p in channel.packages(server.url, 4)), 0]


async def test_what_the_store_has_is_found_although_the_document_records_nothing(
    channel: SyntheticChannel, filled: FaultServer, settings: Settings
) -> None:
    environment = environment_of(channel.packages(filled.url, 12))
    assert all(not p.cached for p in environment.packages)
    readiness = await warm(settings, [environment])
    assert readiness.rows[0].sources == {"store": 12}
    assert filled.requests == []
    # what somebody else put there is read once before it counts as verified
    assert readiness.checked_bytes == sum(p.digests.size or 0 for p in channel.packages(filled.url, 12))
    assert (await warm(settings, [environment], verify=False)).rows[0].verified == 12


async def test_a_missing_object_is_reported_by_verify_and_healed_by_warm(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    environment = environment_of(channel.packages(server.url, 6))
    await warm(settings, [environment])
    victim = archives_in(tmp_path / "store")[2]
    victim.unlink()
    async with Engine(settings) as engine:
        (damage,) = (await verify_environments(engine.host, engine.sources)).damaged
    assert damage.missing == (victim.name,)
    assert f"1 of its 6 packages are missing: {victim.name}; `asynccache warm --env {environment.id}" in str(damage)
    server.requests.clear()
    assert (await warm(settings, [environment])).rows[0].ready
    assert [r.path for r in server.requests] == [f"/linux-64/{victim.name}"]
    async with Engine(settings) as engine:
        assert (await verify_environments(engine.host, engine.sources)).damaged == []


@pytest.mark.parametrize("to", ["remote", "both"])
async def test_a_damaged_object_is_reported_and_written_anew_at_its_key(
    channel: SyntheticChannel, filled: FaultServer, settings: Settings, tmp_path: Path, to: Target
) -> None:
    victim = archives_in(tmp_path / "store")[4]
    _damage(victim)
    readiness = await warm(settings, [environment_of(channel.packages(filled.url, 12))], to)
    assert readiness.rows[0].ready
    assert [Path(key).name for key in readiness.damaged] == [victim.name]
    assert readiness.mended == readiness.damaged
    assert [r.path.rsplit("/", 1)[1] for r in filled.requests] == [victim.name]
    assert damaged_in(tmp_path / "store") == []
    assert not list((tmp_path / "store").rglob("*quarantine*"))


async def test_a_node_that_is_warmed_alone_takes_what_is_damaged_from_upstream_and_leaves_the_store_as_it_is(
    channel: SyntheticChannel, filled: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    victim = archives_in(tmp_path / "store")[4]
    _damage(victim)
    left = victim.read_bytes()
    readiness = await warm(settings, [environment_of(channel.packages(filled.url, 12))], "local", aside=True)
    readiness.raise_for_failures()
    assert victim.read_bytes() == left
    assert len(archives_in(tmp_path / "store")) == 12
    assert not list((tmp_path / "store").rglob("*quarantine*"))


class Liar(MemoryStore):
    """Flips a bit of what is downloaded: of the first reading of each object, or of every one."""

    def __init__(self, *, always: bool, flipped: set[str] | None = None) -> None:
        super().__init__()
        self._always = always
        self._flipped = set[str]() if flipped is None else flipped

    def another(self) -> MemoryStore:
        other = Liar(always=self._always, flipped=self._flipped)
        self.share(other)
        return other

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        count = await super().download(key, path, size=size, moved=moved)
        if self._always or key not in self._flipped:
            self._flipped.add(key)
            _damage(path)
        return count


@pytest.mark.parametrize("to", ["remote", "local", "both"])
async def test_what_is_read_wrong_once_is_read_again_and_nothing_else_happens(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, to: Target
) -> None:
    packages = channel.packages(server.url, 4)
    async with Liar(always=False) as store, Engine(settings, store=store) as engine:
        (await engine.cache(packages)).raise_for_failures()
        before = [info async for info in store.scan()]
        seen: list[events.Event] = []
        with engine.listening(seen.append):
            readiness = await Warm(engine, Catalog(settings, store), to=to).run([("e", environment_of(packages))])
        kept = [info async for info in store.scan("packages/")]
    readiness.raise_for_failures()
    assert kept == before
    assert (readiness.damaged, readiness.reports) == ([], [])
    assert sum(isinstance(e, events.Misread) for e in seen) == 4


@pytest.mark.parametrize("to", ["local", "both"])
async def test_a_node_on_which_every_reading_is_wrong_is_not_ready(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, to: Target
) -> None:
    packages = channel.packages(server.url, 2)
    async with Liar(always=True) as store, Engine(settings, store=store) as engine:
        (await engine.cache(packages)).raise_for_failures()
        readiness = await Warm(engine, Catalog(settings, store), to=to).run([("e", environment_of(packages))])
        assert sorted([i.key async for i in store.scan("packages/")]) == sorted(readiness.damaged)
    (row,) = readiness.rows
    assert (row.complete, row.ready) == (0, False)
    with pytest.raises(PartialFailureError, match="1 of 1 environments are not ready: 2 packages") as caught:
        readiness.raise_for_failures()
    assert caught.value.exit_code == IntegrityError.exit_code
    assert "`asynccache verify --quarantine`" in str(next(iter(row.errors.values())))


@pytest.mark.parametrize("to", ["remote", "both"])
async def test_a_document_that_names_other_bytes_than_the_store_has_is_not_ready_and_the_object_stays(
    channel: SyntheticChannel, filled: FaultServer, settings: Settings, tmp_path: Path, to: Target
) -> None:
    before = archives_in(tmp_path / "store")
    environment = environment_of(channel.packages(filled.url, 3))
    first, *rest = environment.packages
    wrong = replace(first, hashes={first.url_format: "0" * 32})
    (row,) = (await warm(settings, [replace(environment, packages=(wrong, *rest))], to)).rows
    assert (row.complete, row.ready) == (2, False)
    assert "is what its key says, but not what is wanted" in str(next(iter(row.errors.values())))
    assert archives_in(tmp_path / "store") == before


async def test_on_the_node_archives_lie_where_conda_programs_look_for_them(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    packages = channel.packages(server.url, 4)
    await warm(settings, [environment_of(packages)], "both")
    directory = tmp_path / "cache/pkgs"
    assert sorted(p.name for p in directory.iterdir()) == sorted([*(p.filename for p in packages), "urls.txt"])
    assert (directory / "urls.txt").read_text().split() == [str(p.url) for p in packages]
    for package, path in zip(packages, channel.paths, strict=False):
        assert (directory / package.filename).read_bytes() == path.read_bytes()
    (directory / packages[0].filename).unlink()
    _damage(directory / packages[1].filename)
    again = await warm(settings, [environment_of(packages)], "both")
    assert again.rows[0].sources == {"node": 2, "store": 2}
    assert (directory / packages[1].filename).read_bytes() == channel.paths[1].read_bytes()
    assert len((directory / "urls.txt").read_text().split()) == 4


async def test_a_transmuted_archive_is_noted_with_its_place_in_the_store(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    await warm(settings, [environment_of(channel.packages(server.url, 1))], "both", Format.CONDA)
    (line,) = (tmp_path / "cache/pkgs/urls.txt").read_text().split()
    assert line.startswith(f"{tmp_path}/store/packages/conda/packages/conda/127.0.0.1")
    assert line.endswith(".conda")


async def test_warming_this_node_alone_writes_nothing_into_the_store(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    environment = environment_of(channel.packages(server.url, 6))
    readiness = await warm(settings, [environment], "local", aside=True)
    assert readiness.rows[0].ready
    assert archives_in(tmp_path / "store") == []
    assert not (tmp_path / "store" / "envs").exists()
    assert len(list((tmp_path / "cache/pkgs").glob("synthetic-*"))) == 6


async def test_packages_are_had_in_the_wanted_form(
    channel: SyntheticChannel, server: FaultServer, settings: Settings, tmp_path: Path
) -> None:
    environment = environment_of(channel.packages(server.url, 6))
    readiness = await warm(settings, [environment], wanted=Format.CONDA)
    assert readiness.rows[0].ready
    assert {p.suffix for p in archives_in(tmp_path / "store")} == {".conda"}


async def test_an_environment_is_published_when_its_last_package_is_there_and_not_before(
    channel: SyntheticChannel, server: FaultServer, settings: Settings
) -> None:
    good = environment_of(channel.packages(server.url, 3))
    lost = EnvironmentPackage(
        "conda", "lost-1-0", f"{server.url}/linux-64/lost-1-0.conda", ".conda", {".conda": "0" * 32}
    )
    bad = environment_of(channel.packages(server.url, 3), "b", "c")
    bad = replace(bad, packages=(*bad.packages, lost))
    readiness = await warm(settings, [good, bad])
    assert [(row.ready, row.published, row.complete) for row in readiness.rows] == [(True, True, 3), (False, False, 3)]
    with pytest.raises(
        PartialFailureError, match="1 of 2 environments are not ready: 1 packages are not there"
    ) as caught:
        readiness.raise_for_failures()
    assert caught.value.exit_code == FetchRefusedError.exit_code
    async with Engine(settings) as engine:
        catalog = Catalog(settings, engine.store)
        assert catalog.documents is not None
        stored = await catalog.documents.get(good.id)
        assert await catalog.documents.get(bad.id) is None
    assert stored is not None
    assert all(p.cached for p in stored.packages)


async def test_what_was_built_and_is_missing_cannot_be_brought_and_says_what_to_do(
    channel: SyntheticChannel, server: FaultServer, settings: Settings
) -> None:
    name = "clip-1.0-py3-none-any"
    key = f"packages/pypi/_fake/github.com/o/c.git/abc/{name}.whl/{'0' * 64}/{name}.whl"
    address = "https://_fake/github.com/o/c.git/abc"
    built = EnvironmentPackage("pypi", name, address, ".whl", {".whl": "0" * 64}, {".whl": key})
    environment = environment_of(channel.packages(server.url, 2))
    environment = replace(environment, packages=(*environment.packages, built))
    (row,) = (await warm(settings, [environment])).rows
    assert (row.complete, row.packages) == (2, 3)
    assert "clip-1.0-py3-none-any.whl is not in the store and was built from" in str(next(iter(row.errors.values())))


async def test_what_was_built_and_is_there_is_found_under_its_fake_address(
    channel: SyntheticChannel, server: FaultServer, settings: Settings
) -> None:
    import hashlib

    data = b"a wheel"
    digest = hashlib.sha256(data).hexdigest()
    key = f"packages/pypi/_fake/github.com/o/c.git/abc/clip-1.0-py3-none-any.whl/{digest}/clip-1.0-py3-none-any.whl"
    async with Engine(settings) as engine:
        await engine.store.put(key, data)
    built = EnvironmentPackage("pypi", "clip-1.0-py3-none-any", "https://_fake/github.com/o/c.git/abc", ".whl")
    environment = environment_of(channel.packages(server.url, 2))
    environment = replace(environment, packages=(*environment.packages, built))
    readiness = await warm(settings, [environment], "both")
    assert readiness.rows[0].ready
    assert (settings.cache_dir / "pkgs/pypi/clip-1.0-py3-none-any.whl").read_bytes() == data


def test_the_lock_of_a_dead_process_is_broken_and_that_of_a_living_one_waited_for(tmp_path: Path) -> None:
    directory = PackageDirectory(tmp_path, lock_timeout=0.3)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / LOCK).write_text(f"{socket.gethostname()} {ended.stdout.decode()}")
    directory.take([], ["https://h/a"])
    (tmp_path / LOCK).write_text(f"{socket.gethostname()} {os.getpid()}\n")
    with pytest.raises(LockTimeoutError, match="held by another program"):
        directory.take([], ["https://h/b"])
    (tmp_path / LOCK).write_text("")  # as other programs leave it: nobody can tell whether they live
    with pytest.raises(LockTimeoutError):
        directory.take([], ["https://h/b"])
    remover = threading.Timer(0.1, (tmp_path / LOCK).unlink)
    remover.start()
    directory.take([], ["https://h/b"])
    remover.join()
    assert (tmp_path / "urls.txt").read_text() == "https://h/a\nhttps://h/b\n"
