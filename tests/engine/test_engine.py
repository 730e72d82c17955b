"""The main job: packages come from a server, whole and verified, in the wanted format, once."""

import asyncio
import hashlib
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import DefectError, FetchRefusedError, IntegrityError, PartialFailureError
from asynccache.model.digest import Digests
from asynccache.model.package import Format, Package
from asynccache.store.base import ObjectInfo
from asynccache.store.memory import MemoryStore
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import VerifiedReader
from tests.archive.members import members
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in, damaged_in, leftovers_in, receipts_in

Make = Callable[..., Settings]


async def test_every_package_ends_in_the_store_in_the_wanted_form(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        report = await engine.cache(channel.packages(server.url), wanted=Format.CONDA)
    report.raise_for_failures()
    stored = archives_in(tmp_path / "store")
    assert sorted(p.name for p in stored) == sorted(
        p.name.removesuffix(".tar.bz2").removesuffix(".conda") + ".conda" for p in channel.paths
    )
    assert damaged_in(tmp_path / "store") == []
    assert leftovers_in(tmp_path / "store") == []
    assert report.phases["transmute"].count == 15


def _content(path: Path) -> dict[bytes, tuple[str, str]]:
    return {m.member.name: (m.header_sha256, m.sha256) for m in members(path)}


async def test_a_transmuted_archive_holds_the_members_of_its_source_and_has_a_receipt(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    source = channel.paths[-2]
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        package = next(p for p in channel.packages(server.url) if p.filename == source.name)
        (await engine.cache([package], wanted=Format.CONDA)).raise_for_failures()
    (derived,) = archives_in(tmp_path / "store")
    assert _content(derived) == _content(source)
    ((_, receipt),) = receipts_in(tmp_path / "store").items()
    assert receipt["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()  # type: ignore[index]
    assert receipt["derived"]["sha256"] == hashlib.sha256(derived.read_bytes()).hexdigest()  # type: ignore[index]
    assert receipt["level"] == 3
    assert receipt["verified"] is True


async def test_a_second_run_fetches_nothing_and_asks_the_store_less_than_once_per_ten_packages(
    channel: SyntheticChannel, settings: Make
) -> None:
    store = MemoryStore()  # listed by pages, as object stores are
    async with FaultServer(channel.root) as server, store:
        packages = channel.packages(server.url)
        async with Engine(settings(), store=store) as engine:
            await engine.cache(packages, wanted=Format.CONDA)
        server.requests.clear()
        async with Engine(settings(), store=store) as engine:
            report = await engine.cache(packages, wanted=Format.CONDA)
        assert server.requests == []
    assert report.hits == len(packages)
    assert report.requests["store"] <= len(packages) / 10


FULL_CACHE = """
import asyncio, json, sys
from pathlib import Path
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.package import Package
async def main():
    async with Engine(Settings(store=sys.argv[1], cache_dir=Path(sys.argv[2]))) as engine:
        return await engine.cache([Package.from_url(u) for u in json.loads(sys.argv[3])])
report = asyncio.run(main())
report.raise_for_failures()
print(report.hits, sorted({"aiohttp", "aiobotocore", "zstandard", "backports.zstd", "sqlite3"} & set(sys.modules)))
"""


async def test_a_run_that_fetches_and_makes_nothing_loads_no_client_and_no_codec(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        packages = channel.packages(server.url, 3)
        (await engine.cache(packages)).raise_for_failures()
    arguments = [str(tmp_path / "store"), str(tmp_path / "cache"), json.dumps([str(p.url) for p in packages])]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FULL_CACHE, *arguments, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert told.decode().split(maxsplit=1) == ["3", "[]\n"]


async def test_another_directory_of_packages_is_honoured_everywhere(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server:
        for hits in (0, 4):
            async with Engine(settings(packages_dirname="pkgs")) as engine:
                report = await engine.cache(channel.packages(server.url, 4), wanted=Format.CONDA)
            assert report.hits == hits
    assert sorted(p.name for p in (tmp_path / "store").iterdir() if not p.name.startswith(".")) == [
        "asynccache",
        "pkgs",
    ]
    assert all(name.startswith("conda/") for name in receipts_in(tmp_path / "store"))


async def test_packages_of_addresses_with_doubled_slashes_are_found_again_or_refused_by_name(
    channel: SyntheticChannel, settings: Make
) -> None:
    class Strict(MemoryStore):
        holds_empty_segments = False

    async with FaultServer(channel.root) as server:
        plain, odd = channel.packages(server.url, 2)
        odd = replace(odd, url=replace(odd.url, path="/" + odd.url.path.replace("/", "//")))
        async with Engine(settings()) as engine:
            (await engine.cache([plain, odd], wanted=None)).raise_for_failures()
            (archive,) = await engine.sources.inventory.refresh(odd.url)
            assert archive.key.startswith(f"packages/conda/{odd.url.netloc}/{odd.url.path.lstrip(chr(47))}/")
        server.requests.clear()
        async with Engine(settings()) as engine:
            (await engine.cache([plain, odd], wanted=None)).raise_for_failures()
        assert server.requests == []
        async with Strict() as store, Engine(settings(), store=store) as engine:
            report = await engine.cache([plain, odd], wanted=None)
    with pytest.raises(PartialFailureError) as caught:
        report.raise_for_failures()
    ((name, error),) = caught.value.errors.items()
    assert odd.filename in name
    assert "no keys with empty segments" in str(error)


async def test_both_forms_are_kept_when_asked_for(channel: SyntheticChannel, settings: Make, tmp_path: Path) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        packages = channel.packages(server.url, 6)
        (await engine.cache(packages, wanted=Format.CONDA, keep_published=True)).raise_for_failures()
    assert Counter(p.suffix for p in archives_in(tmp_path / "store")) == {".conda": 6, ".bz2": 3}


async def test_a_form_that_is_asked_for_later_is_made_from_the_store_without_the_network(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server:
        packages = channel.packages(server.url, 6)
        async with Engine(settings()) as engine:
            await engine.cache(packages)
        server.requests.clear()
        async with Engine(settings()) as engine:
            report = await engine.cache(packages, wanted=Format.TAR_BZ2)
        assert server.requests == []
    report.raise_for_failures()
    assert report.phases["transmute"].count == 3
    assert damaged_in(tmp_path / "store") == []


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def _all_of(root: Path) -> list[str]:
    """Return every key of a local store."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


async def test_a_damaged_object_is_reported_and_replaced_by_what_its_key_says(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    seen: list[events.Event] = []
    async with FaultServer(channel.root) as server:
        packages = channel.packages(server.url, 1)
        async with Engine(settings()) as engine:
            await engine.cache(packages)
        (stored,) = archives_in(tmp_path / "store")
        _damage(stored)
        async with Engine(settings(), emit=seen.append) as engine:
            report = await engine.cache(packages, wanted=packages[0].url_format.other)
    report.raise_for_failures()
    (found,) = [e for e in seen if isinstance(e, events.DamageFound)]
    assert found.key == str(stored.relative_to(tmp_path / "store"))
    assert "`asynccache verify --quarantine`" in str(found)
    assert (report.damaged, report.mended) == ([found.key], [found.key])
    assert damaged_in(tmp_path / "store") == []
    assert len(archives_in(tmp_path / "store")) == 2
    assert not any("quarantine" in key for key in _all_of(tmp_path / "store"))


async def test_what_upstream_has_replaced_does_not_take_the_place_of_a_damaged_object(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    (tmp_path / "ch/linux-64").mkdir(parents=True)
    published = tmp_path / "ch/linux-64" / channel.paths[0].name
    published.write_bytes(channel.paths[0].read_bytes())
    async with FaultServer(tmp_path / "ch") as server:
        package = Package.from_url(f"{server.url}/linux-64/{published.name}")
        async with Engine(settings()) as engine:
            (await engine.cache([package])).raise_for_failures()
        (stored,) = archives_in(tmp_path / "store")
        _damage(stored)
        damaged = stored.read_bytes()
        published.write_bytes(channel.paths[2].read_bytes())
        async with Engine(settings()) as engine:
            report = await engine.cache([package], wanted=package.url_format.other)
    with pytest.raises(IntegrityError, match=r"is damaged, .*`asynccache verify --quarantine`"):
        report.raise_for_failures()
    assert archives_in(tmp_path / "store") == [stored]
    assert stored.read_bytes() == damaged


@pytest.mark.parametrize("remains", [b"", b"half of an arch"])
async def test_what_an_unverified_writer_left_at_a_key_is_replaced(
    channel: SyntheticChannel, settings: Make, tmp_path: Path, remains: bytes
) -> None:
    async with FaultServer(channel.root) as server:
        packages = channel.packages(server.url, 1)
        async with Engine(settings()) as engine:
            await engine.cache(packages)
        (stored,) = archives_in(tmp_path / "store")
        whole = stored.read_bytes()

        def leave(event: events.Event) -> None:
            if isinstance(event, events.Fetched):  # after the store was listed, before the upload
                stored.parent.mkdir(parents=True)
                stored.write_bytes(remains)

        shutil.rmtree(stored.parent)
        async with Engine(settings(), emit=leave) as engine:
            report = await engine.cache(packages)
    report.raise_for_failures()
    assert report.mended == [str(stored.relative_to(tmp_path / "store"))]
    assert stored.read_bytes() == whole
    assert not any("quarantine" in key for key in _all_of(tmp_path / "store"))


async def test_an_archive_that_another_writer_transmuted_differently_is_adopted(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server:
        packages = channel.packages(server.url, 1)
        assert packages[0].url_format is Format.TAR_BZ2
        async with Engine(settings(store=str(tmp_path / "other"), zstd_level=1)) as engine:
            await engine.cache(packages, wanted=Format.CONDA)
        (theirs,) = archives_in(tmp_path / "other")

        def meanwhile(event: events.Event) -> None:
            if isinstance(event, events.Transmuted):  # ours is made and not yet published
                shutil.copytree(tmp_path / "other" / "packages", tmp_path / "store" / "packages")

        async with Engine(settings(zstd_level=9), emit=meanwhile) as engine:
            report = await engine.cache(packages, wanted=Format.CONDA)
    report.raise_for_failures()
    (adopted,) = archives_in(tmp_path / "store")
    assert adopted.relative_to(tmp_path / "store") == theirs.relative_to(tmp_path / "other")
    assert adopted.read_bytes() == theirs.read_bytes()
    assert (report.adopted, report.uploaded_bytes) == (1, 0)


async def test_an_archive_that_is_there_in_the_wanted_form_is_not_made_again(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server:
        packages = channel.packages(server.url, 1)
        for level in (1, 9):
            async with Engine(settings(zstd_level=level)) as engine:
                report = await engine.cache(packages, wanted=Format.CONDA)
    assert report.hits == 1
    assert len(archives_in(tmp_path / "store")) == 1


class _Explosive(MemoryStore):
    """A store with a defect that shows with one package."""

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        if "synthetic-0002" in prefix:
            raise ZeroDivisionError(prefix)
        return await super().list_page(prefix, start_after=start_after, limit=limit)


async def test_whatever_is_raised_in_the_work_on_one_package_is_its_failure_and_the_others_go_on(
    channel: SyntheticChannel, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the report of the defect goes
    async with FaultServer(channel.root) as server, _Explosive() as store, Engine(settings(), store=store) as engine:
        packages = channel.packages(server.url, 20)
        report = await engine.cache(packages)
    (failure,) = report.failures.values()
    assert isinstance(failure, DefectError)
    assert len(report.outcomes) == 20


async def test_other_bytes_under_a_known_url_are_refused(channel: SyntheticChannel, settings: Make) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        (package,) = channel.packages(server.url, 1)
        await engine.cache([package])
        replaced = Package(package.url, package.stem, package.url_format, Digests(md5="0" * 32))
        report = await engine.cache([replaced])
    with pytest.raises(IntegrityError, match=r"already holds other bytes for .* expected md5 0000"):
        report.raise_for_failures()


@pytest.mark.parametrize("right", [True, False])
async def test_a_digest_that_no_key_has_is_compared_once_with_what_is_there(
    channel: SyntheticChannel, settings: Make, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that was rebuilt at its URL has another sha256, and the key of the old one has md5."""
    async with FaultServer(channel.root) as server:
        (package,) = channel.packages(server.url, 1)
        async with Engine(settings()) as engine:
            await engine.cache([replace(package, digests=Digests())])
        known = package.digests.sha256 if right else "0" * 64
        asked = replace(package, digests=Digests(sha256=known))
        read, reading = list[str](), VerifiedReader.read

        async def counted(reader: VerifiedReader, archive: StoredArchive, *words: Any, **more: Any) -> Any:
            read.append(archive.key)
            return await reading(reader, archive, *words, **more)

        monkeypatch.setattr(VerifiedReader, "read", counted)
        for _run in range(2):
            async with Engine(settings()) as engine:
                report = await engine.cache([asked])
                if right:
                    report.raise_for_failures()
                    assert len(read) == 1
                else:
                    with pytest.raises(IntegrityError, match=r"already holds other bytes for .* expected sha256 0000"):
                        report.raise_for_failures()
        assert len(server.requests) == 1


async def test_packages_with_one_url_are_one(channel: SyntheticChannel, settings: Make) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        (package,) = channel.packages(server.url, 1)
        report = await engine.cache([package] * 5, wanted=Format.CONDA)
        assert len(server.requests) == 1
    assert len(report.outcomes) == 1


async def test_calls_at_once_fetch_a_package_once(channel: SyntheticChannel, settings: Make) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        packages = channel.packages(server.url, 8)
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(engine.cache(packages, wanted=Format.CONDA))
        assert Counter(r.path for r in server.requests).most_common(1)[0][1] == 1


async def test_one_failing_package_does_not_stop_the_others(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        missing = Package.from_url(f"{server.url}/linux-64/nothing-1-0.conda")
        report = await engine.cache([missing, *channel.packages(server.url, 5)])
    assert len(archives_in(tmp_path / "store")) == 5
    with pytest.raises(PartialFailureError, match="1 of 6 packages failed") as caught:
        report.raise_for_failures()
    assert "404 Not Found" in str(next(iter(caught.value.errors.values())))
    assert caught.value.exit_code == FetchRefusedError.exit_code


async def test_what_has_no_digest_is_read_to_its_end_before_it_is_published(
    channel: SyntheticChannel, settings: Make, tmp_path: Path
) -> None:
    broken = tmp_path / "broken" / "noarch"
    broken.mkdir(parents=True)
    (broken / "a-1-0.tar.bz2").write_bytes(channel.paths[0].read_bytes()[:-20])
    async with FaultServer(broken.parent) as server, Engine(settings()) as engine:
        report = await engine.cache([Package.from_url(f"{server.url}/noarch/a-1-0.tar.bz2")])
    assert len(report.failures) == 1
    assert archives_in(tmp_path / "store") == []


async def test_the_largest_number_in_flight_is_the_setting(channel: SyntheticChannel, settings: Make) -> None:
    async with FaultServer(channel.root, latency=0.01) as server, Engine(settings(in_flight=3)) as engine:
        await engine.cache(channel.packages(server.url))
        assert engine.host.budgets.in_flight.peak == 3
        assert server.peak_in_flight <= 3


async def test_the_receipt_adds_up(channel: SyntheticChannel, settings: Make) -> None:
    async with FaultServer(channel.root) as server, Engine(settings()) as engine:
        report = await engine.cache(channel.packages(server.url), wanted=Format.CONDA)
        document = json.loads(json.dumps(report.as_document()))
        assert document["fetched_bytes"] == {server.url: sum(p.stat().st_size for p in channel.paths)}
        assert document["requests"]["sources"] == len(server.requests) == 30
    assert document["packages"] == document["complete"] == 30
    assert document["cpu_seconds"] > 0
    assert document["peak_memory_bytes"] > 1 << 20
    assert document["phases"]["transmute"]["busy_seconds"] > 0
    assert document["uploaded_bytes"] == sum(f["bytes"] for o in document["outcomes"] for f in o["forms"])


CACHE = """
import asyncio, json, sys
from pathlib import Path
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.package import Format, Package
from asynccache.store.base import ObjectInfo
from asynccache.store.memory import MemoryStore
async def main():
    store, cache, urls = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    async with Engine(Settings(store=store, cache_dir=cache)) as engine:
        report = await engine.cache([Package.from_url(u) for u in urls], wanted=Format.CONDA)
        report.raise_for_failures()
asyncio.run(main())
"""


async def test_four_processes_that_want_the_same_packages_fetch_each_once(
    channel: SyntheticChannel, tmp_path: Path
) -> None:
    async with FaultServer(channel.root, latency=0.02) as server:
        urls = [f"{p.url}#{p.digests.md5}" for p in channel.packages(server.url)]
        command = [sys.executable, "-c", CACHE, str(tmp_path / "store"), str(tmp_path / "cache"), json.dumps(urls)]
        processes = [await asyncio.create_subprocess_exec(*command) for _ in range(4)]
        assert [await p.wait() for p in processes] == [0] * 4
        assert Counter(r.path for r in server.requests).most_common(1)[0][1] == 1
    assert len(archives_in(tmp_path / "store")) == 30
    assert damaged_in(tmp_path / "store") == []
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == ["vouched.sqlite"]
