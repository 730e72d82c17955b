from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.errors import DiskError, LockTimeoutError, ObjectNotFoundError, PreconditionFailedError, StoreError
from asynccache.model.digest import Digests
from asynccache.runtime.scratch import this_host
from asynccache.store import local_files, local_staging
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore
from tests.store.conftest import digests_of, written
from tests.support.file_locks import site_without_file_locks, without_file_locks
from tests.support.waiting import until_it_holds

HIDDEN = local_staging.HIDDEN


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def files_in(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


async def keys(store: LocalStore | MemoryStore, prefix: str = "", start_after: str = "") -> list[str]:
    return [info.key async for info in store.scan(prefix, start_after=start_after)]


async def test_reading_makes_no_directory_and_writing_leaves_no_other_file(root: Path) -> None:
    async with LocalStore(root) as store:
        assert await store.head("a") is None
        assert await keys(store) == []
        await store.delete("a")
        assert not root.exists()
        await store.put("a/b", b"x")
    assert files_in(root) == ["a/b"]
    assert [p.name for p in root.iterdir()] == ["a"]


async def test_temporary_files_are_no_objects(root: Path, tmp_path: Path) -> None:
    async with LocalStore(root) as store:
        await store.put("a", b"x")
        assert (root / HIDDEN).is_dir()
        assert await keys(store) == ["a"]
        assert await keys(store, HIDDEN) == []
        assert await keys(store, f"{HIDDEN}/") == []
        for operation in (store.put(f"{HIDDEN}/x", b"x"), store.get(f"{HIDDEN}/x"), store.move("a", f"{HIDDEN}/x")):
            with pytest.raises(Exception, match="temporary files"):
                await operation


async def test_an_uploaded_file_shares_no_inode_with_the_callers(root: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"content")
    async with LocalStore(root) as store:
        await store.upload("copied", path, digests_of(b"content"))
        assert (root / "copied").stat().st_ino != path.stat().st_ino
        await store.download("copied", tmp_path / "target")
        assert (root / "copied").stat().st_ino != (tmp_path / "target").stat().st_ino


async def test_a_file_that_is_given_away_is_taken_without_copying(root: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"content")
    inode = path.stat().st_ino
    async with LocalStore(root) as store:
        await store.upload("a", path, digests_of(b"content"), consume=True)
    assert not path.exists()
    assert (root / "a").stat().st_ino == inode
    assert (root / "a").stat().st_nlink == 1


@pytest.mark.parametrize("how", ["hard link", "symbolic link"])
async def test_a_file_that_others_have_too_is_copied_even_when_given_away(root: Path, tmp_path: Path, how: str) -> None:
    other = written(tmp_path / "other", b"content")
    path = tmp_path / "file"
    if how == "hard link":
        path.hardlink_to(other)
    else:
        path.symlink_to(other)
    async with LocalStore(root) as store:
        await store.upload("a", path, digests_of(b"content"), consume=True)
    assert (root / "a").stat().st_ino != other.stat().st_ino
    assert not (root / "a").is_symlink()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
async def test_a_file_of_another_file_system_is_copied(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = written(Path(directory) / "file", b"content" * 1000)
        async with LocalStore(root) as store:
            await store.upload("a", path, digests_of(b"content" * 1000), consume=True)
            assert await store.get("a") == b"content" * 1000


@pytest.mark.parametrize("missing", ["_clone", "_copy_in_kernel", "both"])
async def test_files_are_copied_whatever_the_kernel_cannot_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing != "_copy_in_kernel":
        monkeypatch.setattr(local_files, "_clone", lambda *_: False)
    if missing != "_clone":
        monkeypatch.setattr(local_files, "_copy_in_kernel", lambda *_: 0)
    data = os.urandom(3_000_001)
    async with LocalStore(root) as store:
        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        assert await store.get("a") == data


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
async def test_without_hard_links_there_is_still_one_winner(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    async with LocalStore(root) as store:
        assert not (await store.capabilities()).conditional_put
        results = await asyncio.gather(
            *(store.put("a", b"%d" % n, if_absent=True) for n in range(30)), return_exceptions=True
        )
        assert sum(not isinstance(r, BaseException) for r in results) == 1
        assert all(isinstance(r, PreconditionFailedError) for r in results if isinstance(r, BaseException))


async def test_removing_an_object_removes_the_directories_it_leaves_empty(root: Path) -> None:
    async with LocalStore(root) as store:
        await store.put("a/b/c/d", b"x")
        await store.put("a/e", b"x")
        await store.delete("a/b/c/d")
        assert not (root / "a" / "b").exists()
        await store.move("a/e", "f")
        assert not (root / "a").exists()
        assert root.is_dir()


async def test_writers_and_removers_of_one_directory_do_not_disturb_each_other(root: Path) -> None:
    async with LocalStore(root) as store:

        async def churn(number: int) -> None:
            for _ in range(20):
                await store.put(f"a/b/c/{number}", b"x", if_absent=True)
                await store.delete(f"a/b/c/{number}")

        await asyncio.gather(*(churn(number) for number in range(6)))
        assert await keys(store) == []


async def test_a_directory_that_is_removed_while_it_is_made_is_made_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Path.mkdir
    vanishing = [1, 1, 1]

    def vanish(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if self == root / "a/b" and vanishing:
            vanishing.pop()
            raise FileExistsError(17, "File exists", str(self))  # as mkdir has it for a directory that is gone by now
        made(self, mode, parents, exist_ok)

    async with LocalStore(root) as store:
        monkeypatch.setattr(Path, "mkdir", vanish)
        await store.put("a/b/c", b"x", if_absent=True)
        assert await store.get("a/b/c") == b"x"
    assert not vanishing


async def test_an_archive_does_not_get_a_second_hash_directory_beside_an_abandoned_one(root: Path) -> None:
    directory = root / "packages/conda/h/a-1-0.tar.bz2/a-1-0.conda"
    for name in ("abandoned", "young", "full"):
        (directory / name).mkdir(parents=True)
    (directory / "full" / "a-1-0.conda").write_bytes(b"x")
    for name in ("abandoned", "full"):
        os.utime(directory / name, (1, 1))
    async with LocalStore(root) as store:
        await store.put("packages/conda/h/a-1-0.tar.bz2/a-1-0.conda/new/a-1-0.conda", b"x", if_absent=True)
    assert sorted(p.name for p in directory.iterdir()) == ["full", "new", "young"]


async def test_a_key_below_an_object_is_a_clear_error(root: Path) -> None:
    async with LocalStore(root) as store:
        await store.put("a/b", b"x")
        with pytest.raises(StoreError, match="a part of the key is an object already"):
            await store.put("a/b/c", b"x")
        with pytest.raises(StoreError, match="or it is a directory"):
            await store.put("a", b"x")
        with pytest.raises(StoreError, match="or it is a directory"):
            await store.put("a", b"x", if_absent=True)
        assert await store.head("a/b/c") is None
        assert await store.head("a") is None
        with pytest.raises(ObjectNotFoundError):
            await store.get("a")
        await store.delete("a")
        assert await keys(store) == ["a/b"]


async def test_a_name_that_the_file_system_cannot_hold_is_a_clear_error(root: Path) -> None:
    async with LocalStore(root) as store:
        with pytest.raises(StoreError, match="too long for the file system"):
            await store.put("a/" + "n" * 300, b"x")
        assert await keys(store) == []


async def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"x")
    with pytest.raises(StoreError, match="is not a directory"):
        async with LocalStore(path):
            pass


async def test_names_that_no_key_can_have_are_left_out_of_listings(root: Path) -> None:
    root.mkdir()
    (root / "line\nbreak").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_bytes(b"x")
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "good").write_bytes(b"x")
    async with LocalStore(root) as store:
        assert await keys(store) == ["good"]


async def test_only_directories_that_may_hold_a_wanted_key_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalStore(root) as store:
        for number in range(20):
            await store.put(f"p/conda/h/{number:02}/x", b"x")
        opened: list[str] = []
        scandir = os.scandir

        def counting(path: str) -> object:
            opened.append(str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", counting)
        assert [i.key for i in await store.list_page("p/conda/h/07/")] == ["p/conda/h/07/x"]
        assert len(opened) == 1
        opened.clear()
        assert await keys(store, "p/", "p/conda/h/17/x") == ["p/conda/h/18/x", "p/conda/h/19/x"]
        assert len(opened) == 6  # p, conda, h, 17, 18, 19


class Held:
    """Another process that holds the store's lock."""

    def __init__(self, root: Path) -> None:
        code = (
            "import sys, time, pathlib\n"
            "from asynccache.store.local_staging import root_lock\n"
            "with root_lock(pathlib.Path(sys.argv[1]), 'x'):\n"
            "    print('held', flush=True)\n"
            "    time.sleep(60)\n"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


async def test_a_swap_waits_for_another_process_and_not_for_a_dead_one(root: Path) -> None:
    async with LocalStore(root) as store:
        first = await store.put("a", b"1")
        held = Held(root)
        try:
            task = asyncio.ensure_future(store.put("a", b"2", if_match=first.etag))
            await asyncio.sleep(0.1)
            assert not task.done()
        finally:
            held.kill()
        await task
        assert await store.get("a") == b"2"


async def test_a_lock_that_is_never_freed_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_staging, "LOCK_SECONDS", 0.2)
    async with LocalStore(root) as store:
        await store.put("a", b"1")
        held = Held(root)
        try:
            with pytest.raises(LockTimeoutError, match="locked by another process"):
                await store.put("a", b"2")
        finally:
            held.kill()


_SWAPS = """
import asyncio, pathlib, sys
from asynccache.errors import PreconditionFailedError
from asynccache.store.local import LocalStore
async def main():
    async with LocalStore(pathlib.Path(sys.argv[1])) as store:
        done = 0
        while done < 10:
            there = await store.head("count")
            number = int(await store.get("count"))
            try:
                await store.put("count", str(number + 1).encode(), if_match=there.etag)
                done += 1
            except PreconditionFailedError:
                pass
asyncio.run(main())
"""


async def test_swaps_of_several_processes_lose_nothing_where_files_cannot_be_locked(root: Path, tmp_path: Path) -> None:
    async with LocalStore(root) as store:
        await store.put("count", b"0")
        path = os.pathsep.join([str(site_without_file_locks(tmp_path / "site")), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path}
        command = [sys.executable, "-c", _SWAPS, str(root)]
        started = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(3)]
        assert [await process.wait() for process in started] == [0] * 3
        assert await store.get("count") == b"30"
    assert [path.name for path in root.iterdir()] == ["count"]


async def test_without_file_locks_a_lock_file_that_stays_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_file_locks(monkeypatch)
    monkeypatch.setattr(local_staging, "LOCK_SECONDS", 0.2)
    async with LocalStore(root) as store:
        await store.put("a", b"1")
        (root / HIDDEN).mkdir(exist_ok=True)
        (root / HIDDEN / "lock").write_text("another-host 1\n")
        with pytest.raises(LockTimeoutError, match=rf"{HIDDEN}/lock was held by another program .*remove the file"):
            await store.put("a", b"2")
        (root / HIDDEN / "lock").unlink()
        await store.put("a", b"3")
        assert await store.get("a") == b"3"


async def test_without_file_locks_only_what_is_a_week_old_is_swept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = this_host()
    for name, days in (("0123abce", 8), ("0123abcd", 6)):
        left = root / HIDDEN / f"{host}-1-{name}"
        left.mkdir(parents=True)
        then = time.time() - days * 24 * 3600
        os.utime(left, (then, then))
    without_file_locks(monkeypatch)
    async with LocalStore(root):
        assert [path.name for path in (root / HIDDEN).iterdir()] == [f"{host}-1-0123abcd"]


_KILLED = """
import asyncio, os, pathlib, sys
from asynccache.model.digest import Digests
from asynccache.store import local_files
from asynccache.store.local import LocalStore
async def main():
    async with LocalStore(pathlib.Path(sys.argv[1])) as store:
        def stop(*args, **kwargs):
            print("ready", flush=True)
            import time; time.sleep(60)
        local_files.publish = stop
        await store.upload("a/b", pathlib.Path(sys.argv[2]), Digests())
asyncio.run(main())
"""


async def test_what_a_killed_writer_leaves_is_not_visible_and_swept_by_the_next(root: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"x" * 1000)
    command = [sys.executable, "-c", _KILLED, str(root), str(path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        async with LocalStore(root) as store:
            assert len(files_in(root)) == 1, "a living writer's file is left alone"
            assert await keys(store) == []
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    assert len(files_in(root)) == 1
    async with LocalStore(root):
        assert list(root.iterdir()) == []


async def test_what_another_host_left_stays_for_a_week(root: Path) -> None:
    left = root / HIDDEN / "elsewhere-1-0123abcd"
    left.mkdir(parents=True)
    async with LocalStore(root):
        assert left.exists()
    week = time.time() - 8 * 24 * 3600
    os.utime(left, (week, week))
    async with LocalStore(root):
        assert not left.exists()


@pytest.mark.parametrize("moment", range(4))
async def test_a_cancelled_copy_ends_with_its_block_and_leaves_no_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.setattr(local_files, "_clone", lambda *_: False)
    monkeypatch.setattr(local_files, "_copy_in_kernel", lambda *_: 0)
    blocks, last, go_on = 0, 1 + 5 * moment, threading.Event()

    def counted(block: bytes) -> memoryview:
        nonlocal blocks
        blocks += 1
        if blocks == last:
            go_on.wait()
        return memoryview(block)

    monkeypatch.setattr(local_files, "memoryview", counted, raising=False)
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(40 << 20)
    async with LocalStore(root) as store:
        await store.capabilities()
        task = asyncio.ensure_future(store.upload("a", path, Digests()))
        await until_it_holds(lambda: blocks == last)
        task.cancel()
        await asyncio.sleep(0.01)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert blocks == last
        assert files_in(root) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system needs root and tmpfs")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


async def test_a_full_disk_says_how_much_was_needed_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"x" * (3 << 20))
    async with LocalStore(small_disk / "store") as store:
        with pytest.raises(
            DiskError, match=r"is full, a/b was not written: expected 3145728 bytes of free space, found \d+"
        ):
            await store.upload("a/b", path, digests_of(path.read_bytes()))
        with pytest.raises(DiskError, match="expected 3145728 bytes"):
            await store.put("a/c", path.read_bytes())
        assert await keys(store) == []
        await store.put("a/b", b"small")
    assert files_in(small_disk) == ["store/a/b"]


async def test_a_download_to_a_full_disk_names_the_disk_that_is_full(
    root: Path, small_disk: Path, tmp_path: Path
) -> None:
    data = b"x" * (3 << 20)
    async with LocalStore(root) as store:
        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        with pytest.raises(DiskError, match="small/target is full: expected 3145728 bytes"):
            await store.download("a", small_disk / "target")


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (errno.EACCES, StoreError, "does not permit access"),
        (errno.EROFS, DiskError, "read-only file system"),
        (errno.EDQUOT, DiskError, "is full"),
        (errno.EIO, StoreError, "cannot be accessed"),
    ],
)
async def test_what_the_file_system_refuses_is_one_clear_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], words: str
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(local_files, "publish", refuse)
    async with LocalStore(root) as store:
        with pytest.raises(error, match=words):
            await store.put("a", b"x")
    assert files_in(root) == []


_NAMES = st.text("ab-./%é", min_size=1, max_size=8)


def _key_like(text: str) -> bool:
    return all(part not in {"", ".", ".."} for part in text.split("/"))


def _no_object_below_another(keys: set[str]) -> bool:
    return not any(a != b and b.startswith(a + "/") for a in keys for b in keys)


@settings(max_examples=80, deadline=None)
@given(
    st.sets(_NAMES.filter(_key_like), min_size=1, max_size=12).filter(_no_object_below_another),
    st.one_of(st.just(""), _NAMES),
    st.one_of(st.just(""), _NAMES),
    st.integers(1, 5),
)
def test_listings_are_those_of_a_sorted_list_of_keys(
    names: set[str], prefix: str, start_after: str, limit: int
) -> None:
    expected = [k for k in sorted(names, key=str.encode) if k.startswith(prefix) and k > start_after]

    async def compare(store: LocalStore | MemoryStore) -> None:
        async with store:
            for name in names:
                await store.put(name, b"x")
            assert await keys(store, prefix, start_after) == expected
            page = await store.list_page(prefix, start_after=start_after, limit=limit)
            assert [i.key for i in page] == expected[:limit]

    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        stores: list[Callable[[], LocalStore | MemoryStore]] = [MemoryStore, lambda: LocalStore(Path(directory) / "s")]
        for make in stores:
            asyncio.run(compare(make()))
