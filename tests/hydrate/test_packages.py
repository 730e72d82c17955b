"""Packages come from wherever they are whole, once a node, and what is wrong is named."""

import asyncio
import bz2
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.events import DamageFound, Event, Fetched, PackageExtracted
from asynccache.errors import ArchiveError, DiskError, FetchError, HydrationError, IntegrityError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.packages import BY_DIGEST, NodePackages
from asynccache.hydrate.tree import link_scripts, link_tree
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from tests.support.channel import Channel
from tests.support.conda_package import PLACEHOLDER, Member, Metadata, write_package
from tests.support.fault_server import FaultServer
from tests.support.hydration import cached, channel_paths, environment_with, packages_of
from tests.support.stores import archives_in
from tests.support.temporary import base

NATIVE = current_architecture()


@pytest.fixture
async def server(real_channel: Channel) -> AsyncIterator[FaultServer]:
    async with FaultServer(real_channel.root) as serving:
        yield serving


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=root)


def _stored(engine: Engine, name: str) -> Path:
    root = Path(engine.host.settings.store or "")
    return next(p for p in archives_in(root) if p.name.startswith(name))


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def package(directory: Path, name: str, *members: Member, fmt: Format = Format.CONDA, version: str = "1.0") -> Path:
    """Write a conda package of this machine's architecture."""
    directory.mkdir(parents=True, exist_ok=True)
    metadata = Metadata(name=name, version=version, build="0", subdir=NATIVE)
    write_package(directory, metadata, list(members), (fmt,))
    return directory / f"{name}-{version}-0{fmt}"


async def test_recorded_objects_are_read_with_one_request_each(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    events.clear()
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    assert sum(isinstance(e, Fetched) for e in events) == len(tiny.packages)
    sources = {e.source for e in events if isinstance(e, Fetched)}
    assert sources == {engine.store.address}


async def test_what_documents_do_not_record_is_found_by_listing(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    bare = replace(tiny, packages=tuple(replace(p, cached={}) for p in tiny.packages))
    events.clear()
    await hydrate(engine.host, engine.sources, bare, tmp_path / "env")
    assert {e.source for e in events if isinstance(e, Fetched)} == {engine.store.address}


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "absent"])
async def test_a_damaged_object_is_reported_and_its_package_comes_from_upstream(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event], damage: str
) -> None:
    victim = _stored(engine, "feature-names")
    whole = victim.read_bytes()
    if damage == "flipped bit":
        _damage(victim)
    elif damage == "truncated":
        os.truncate(victim, victim.stat().st_size // 2)
    else:
        victim.unlink()
    left = victim.read_bytes() if damage != "absent" else whole
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    assert (tmp_path / "env/share/feature-names/with blank/x").read_bytes() == b"y"
    # a node that hydrates mends nothing in the store; what a local one has lost it gets back
    assert sum(isinstance(e, DamageFound) for e in events) == (damage != "absent")
    assert victim.read_bytes() == left
    assert not list(Path(engine.host.settings.store or "").rglob("*quarantine*"))


async def test_a_good_object_stays_when_the_document_names_other_bytes(
    engine: Engine, tmp_path: Path, events: list[Event]
) -> None:
    path = package(tmp_path / "built", "only", Member("share/only", b"x" * 5000))
    environment = await cached(engine, packages_of([path]))
    wrong = replace(environment.packages[0], hashes={".conda": "0" * 32})
    with pytest.raises(IntegrityError, match=r"is what its key says, but not what is wanted: .*expected 0{32}"):
        await hydrate(engine.host, engine.sources, replace(environment, packages=(wrong,)), tmp_path / "env")
    assert not any(isinstance(e, DamageFound) for e in events)
    assert (await hydrate(engine.host, engine.sources, environment, tmp_path / "env")).created


async def test_of_two_archives_of_one_name_the_one_that_the_document_names_is_read(
    engine: Engine, tmp_path: Path
) -> None:
    first = package(tmp_path / "a", "two", Member("share/two", b"first"))
    second = package(tmp_path / "b", "two", Member("share/two", b"second"))
    environment = await cached(engine, packages_of([first]))
    key = environment.packages[0].cached[".conda"]
    digest = hashlib.md5(second.read_bytes()).hexdigest()
    other = key.replace(environment.packages[0].hashes[".conda"], digest)
    await engine.store.put(other, second.read_bytes())
    first.unlink()
    for wanted, hashed, content in ((key, None, b"first"), (other, digest, b"second")):
        packages = tuple(
            replace(p, cached={".conda": wanted}, hashes={".conda": hashed or p.hashes[".conda"]})
            for p in environment.packages
        )
        await hydrate(
            engine.host, engine.sources, replace(environment, packages=packages), tmp_path / f"env-{wanted == key}"
        )
        assert (tmp_path / f"env-{wanted == key}/share/two").read_bytes() == content


async def test_a_damaged_object_that_no_other_source_has_is_named_with_its_digests(
    engine: Engine, tmp_path: Path
) -> None:
    path = package(tmp_path / "built", "only", Member("share/only", b"x" * 5000))
    environment = await cached(engine, packages_of([path]))
    path.unlink()
    victim = _stored(engine, "only")
    expected = environment.packages[0].published_hash
    _damage(victim)
    with pytest.raises(IntegrityError) as caught:
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
    text = str(caught.value)
    for part in ("only-1.0-0.conda", "packages/conda/", f"expected {expected}", "found ", "no other source has it"):
        assert part in text
    assert not (tmp_path / "env").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


async def test_the_other_form_of_a_package_serves_when_the_published_one_is_gone(
    engine: Engine, tmp_path: Path
) -> None:
    path = package(tmp_path / "built", "both", Member("share/both", b"both"), fmt=Format.TAR_BZ2)
    environment = await cached(engine, packages_of([path]))
    (await engine.cache(packages_of([path]), wanted=Format.CONDA)).raise_for_failures()
    path.unlink()
    _stored(engine, "both-1.0-0.tar.bz2").unlink()
    done = await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
    record = json.loads((done.prefix / "conda-meta/both-1.0-0.json").read_bytes())
    assert record["fn"] == "both-1.0-0.tar.bz2"
    assert record["md5"] == environment.packages[0].published_hash


async def test_a_local_store_gets_back_what_another_program_has_moved_out_of_it(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, real_channel: Channel
) -> None:
    root, pkgs = Path(engine.host.settings.store or ""), engine.host.settings.cache_dir / "pkgs"
    before = {path: path.read_bytes() for path in archives_in(root)}
    pkgs.mkdir(parents=True)
    (here,) = channel_paths(real_channel, "feature-symlinks")
    shutil.copy(here, pkgs)  # the others come from where they are published
    *moved, other = before
    for path in moved:
        path.unlink()  # the directories of hashes stay
    shutil.rmtree(other.parent)  # as where the document is of another store
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    assert {path: path.read_bytes() for path in archives_in(root)} == {path: before[path] for path in moved}


async def test_a_store_that_cannot_be_written_gets_nothing_back_and_the_environment_is_made(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_words: object, **_more: object) -> None:
        raise DiskError("read-only")

    for path in archives_in(Path(engine.host.settings.store or "")):
        path.unlink()
    monkeypatch.setattr(engine.store, "upload", refused)
    assert (await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")).created


async def test_archives_that_lie_on_the_node_are_used(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event], real_channel: Channel
) -> None:
    pkgs = engine.host.settings.cache_dir / "pkgs"
    pkgs.mkdir(parents=True)
    for path in channel_paths(real_channel, "feature-symlinks", "feature-names"):
        shutil.copy(path, pkgs)
    _damage(next(pkgs.glob("feature-names*")))
    events.clear()
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    fetched = {e.package.partition("-1.0")[0] for e in events if isinstance(e, Fetched)}
    assert "feature-symlinks" not in fetched
    assert "feature-names" in fetched


async def test_packages_that_a_conda_program_extracted_are_used(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "first")
    for record in (engine.host.settings.cache_dir / "pkgs").glob("*/info/asynccache.json"):
        record.unlink()
    events.clear()
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "second")
    assert not [e for e in events if isinstance(e, (Fetched, PackageExtracted))]
    # one that says other bytes is not
    record = engine.host.settings.cache_dir / "pkgs/feature-names-1.0-h0_0/info/repodata_record.json"
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "md5": "0" * 32}))
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "third")
    assert [e.package for e in events if isinstance(e, PackageExtracted)] == ["feature-names-1.0-h0_0"]


async def test_two_packages_of_one_name_lie_side_by_side(engine: Engine, tmp_path: Path) -> None:
    paths = [package(tmp_path / side, "same", Member("share/same", side.encode())) for side in ("one", "two")]
    for _ in range(2):
        for side, path in zip(("one", "two"), paths, strict=True):
            environment = await cached(engine, packages_of([path]), note=side)
            shutil.rmtree(tmp_path / f"env-{side}", ignore_errors=True)
            await hydrate(engine.host, engine.sources, environment, tmp_path / f"env-{side}")
            assert (tmp_path / f"env-{side}/share/same").read_text() == side
    assert len(list((engine.host.settings.cache_dir / "pkgs" / BY_DIGEST).glob("*/same-1.0-0"))) == 1


async def test_a_prefix_longer_than_a_placeholder_is_refused_before_anything_is_linked(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    prefix = tmp_path / ("x" * 200) / ("y" * 100)
    with pytest.raises(
        HydrationError, match=r"too long for share/feature-prefix-binary/data.bin of feature-prefix-bin"
    ) as caught:
        await hydrate(engine.host, engine.sources, tiny, prefix)
    assert f"expected at most {len(PLACEHOLDER)} bytes, found {len(str(prefix))}" in str(caught.value)
    assert not prefix.exists()


async def test_clobbered_paths_are_told_and_the_same_every_time(engine: Engine, tmp_path: Path) -> None:
    paths = [package(tmp_path / "built", n, Member("share/x", n.encode()), Member(f"share/{n}", b"")) for n in "abc"]
    seen = set()
    for number, order in enumerate((paths, paths[::-1])):
        environment = await cached(engine, packages_of(order), note=str(number))
        done = await hydrate(engine.host, engine.sources, environment, tmp_path / f"env{number}")
        seen.add(((done.prefix / "share/x").read_text(), done.notes))
    ((content, notes),) = seen
    assert content == "a"
    assert notes == tuple(f"share/x is in several packages; that of {n}-1.0-0 lies in __clobbers__" for n in ("b", "c"))


async def test_on_a_disk_that_ignores_case_clashes_are_told(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package(tmp_path / "built", "clash", Member("share/Name", b"1"), Member("share/name", b"2"))
    environment = await cached(engine, packages_of([path]))
    monkeypatch.setattr("asynccache.hydrate.tree._ignores_case", lambda _directory: True)
    done = await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
    assert done.notes == (
        "share/Name and share/name are one file on this disk, which ignores case; one of them is missing",
    )


async def test_a_package_that_is_no_conda_package_is_refused(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "bad-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(b"not a tar file at all" * 1000))
    environment = environment_with(packages_of([path]))
    with pytest.raises(Exception, match=r"bad-1\.0-0\.tar\.bz2") as caught:
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
    assert "unpacked" in str(caught.value) or "info/index.json" in str(caught.value)
    assert list((engine.host.settings.cache_dir / "work").iterdir()) == []


@pytest.mark.parametrize(
    "paths", ["null", "[3]", '[{"path": "a"}]', '[{"_path": "a", "prefix_placeholder": 4}]'], ids=range(4)
)
async def test_a_package_with_no_readable_list_of_paths_is_named_and_cached_all_the_same(
    engine: Engine, tmp_path: Path, paths: str
) -> None:
    path = tmp_path / "odd-1.0-0.tar.bz2"
    with tarfile.open(path, "w:bz2") as tar:
        for name, text in {"info/index.json": "{}", "info/paths.json": f'{{"paths": {paths}}}'}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    environment = environment_with(packages_of([path]))
    node = NodePackages(engine.host, engine.sources)
    async with node.in_use():
        with engine.taking(node.taker(environment.packages)):
            (await engine.cache(packages_of([path]))).raise_for_failures()
    with pytest.raises(ArchiveError, match=r"odd-1\.0-0 .*info/paths\.json"):
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env")


async def test_a_package_that_nobody_has_says_so(engine: Engine, server: FaultServer, tmp_path: Path) -> None:
    path = package(tmp_path / "built", "gone", Member("share/gone", b""))
    environment = environment_with(packages_of([path]))
    lost = replace(environment.packages[0], url=f"{server.url}/{NATIVE}/gone-1.0-0.conda")
    with pytest.raises(FetchError, match="404"):
        await hydrate(engine.host, engine.sources, replace(environment, packages=(lost,)), tmp_path / "env")


async def test_hydrations_at_once_in_one_process_fetch_each_package_once(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    events.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(hydrate(engine.host, engine.sources, tiny, tmp_path / f"env{n % 3}")) for n in range(9)
        ]
    assert sum(task.result().created for task in tasks) == 3
    assert sum(isinstance(e, Fetched) for e in events) == len(tiny.packages)


async def test_a_tree_for_another_architecture_is_linked_with_a_prefix_that_is_elsewhere(
    engine: Engine, small: ResolvedEnvironment, tmp_path: Path
) -> None:
    foreign = replace(small, id=replace(small.id, arch="osx-arm64"))
    tree = await link_tree(engine.host, engine.sources, foreign, tmp_path / "tree", "/somewhere/else")
    assert (tmp_path / "tree/etc/feature-prefix-text/config.ini").read_text().startswith("root = /somewhere/else\n")
    assert (tmp_path / "tree/bin/feature-entry-point").read_bytes().startswith(b"#!/somewhere/else/bin/python")
    assert [name for name, _script in link_scripts(foreign, tmp_path / "tree")] == ["feature-post-link-1.0-h0_0"]
    assert not (tmp_path / "tree/.metaflowenv").exists()
    assert tree.files > 1000


async def test_what_cannot_fit_is_refused_with_the_bytes_that_are_needed(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100))
    with pytest.raises(DiskError, match=r"does not fit into .*expected \d+ free bytes, found 100"):
        await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    assert not (tmp_path / "env").exists()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to mount a small disk")
async def test_a_disk_that_fills_up_on_the_way_is_a_clean_failure(
    real_channel: Channel, tmp_path: Path, settings: Settings
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if _run("mount", "-t", "tmpfs", "-o", "size=12m", "none", disk).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        async with Engine(settings) as engine:
            small = await cached(engine, packages_of(channel_paths(real_channel)))
        async with Engine(replace(settings, cache_dir=disk / "cache")) as engine:
            bare = replace(engine.host.settings, cache_dir=disk / "cache")
            assert bare.cache_dir.is_relative_to(disk)
            with pytest.raises(DiskError, match=r"is full|does not fit"):
                await hydrate(engine.host, engine.sources, small, disk / "env")
            assert [p.name for p in disk.iterdir()] == ["cache"]
            assert list((disk / "cache/work").iterdir()) == []
    finally:
        assert _run("umount", disk).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
async def test_packages_in_a_directory_that_cannot_be_written_are_used(
    engine: Engine, small: ResolvedEnvironment, tmp_path: Path
) -> None:
    await hydrate(engine.host, engine.sources, small, tmp_path / "first")
    shared = engine.host.settings.cache_dir / "pkgs"
    (tmp_path / "theirs").mkdir(mode=0o777)
    (tmp_path / "theirs").chmod(0o777)
    document = tmp_path / "env.json"
    document.write_text(json.dumps({"env_id": small.id.as_list(), **small.as_document()}))
    above = [path for path in tmp_path.parents if path.is_relative_to(base())]
    for path in (tmp_path, *above):
        path.chmod(path.stat().st_mode | 0o055)
    program = (
        "import asyncio, json, os, sys\n"
        "from pathlib import Path\n"
        "from asynccache.config import Settings\n"
        "from asynccache.engine.engine import Engine\n"
        "from asynccache.hydrate.hydrate import hydrate\n"
        "from asynccache.ops.naming import read_document\n"
        "theirs, shared, document = map(Path, sys.argv[1:])\n"
        "environment = read_document(document, None)\n"
        "async def main(place):\n"
        "    settings = Settings(store=str(place / 'none'), cache_dir=place / 'cache', package_dirs=[str(shared)])\n"
        "    async with Engine(settings) as engine:\n"
        "        return (await hydrate(engine.host, engine.sources, environment, place / 'env')).link_type\n"
        "asyncio.run(main(theirs.parent / 'mine'))\n"  # imports what another user may not read
        "os.setuid(65534)\n"
        "print(asyncio.run(main(theirs)))\n"
    )
    done = _run(sys.executable, "-c", program, tmp_path / "theirs", shared, document)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "theirs/env/bin/python").exists()
    assert done.stdout.strip() in {"hardlink", "copy", "clone"}
