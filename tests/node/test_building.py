"""A prefix is made aside and takes its place whole; what is not ours is left alone; what the dead left is removed."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.errors import HydrationError, LockTimeoutError
from asynccache.node.building import BUILDING, CREATION_LOCK, Building, lock_path, remove_prefix, sweep
from asynccache.node.environments import environment_name, read_marker, write_marker
from asynccache.node.kernel_lock import KernelLock
from tests.support.file_locks import without_file_locks

ENV = ("a" * 40, "b" * 40, "linux-64")
OTHER = ("a" * 40, "c" * 40, "linux-64")
NAME = environment_name(*ENV[:2], "step")
DAY = 24 * 3600.0


def building(prefix: Path, *, among: bool = True, exclusive: bool = True, force: bool = False) -> Building:
    return Building(str(prefix), ENV, among_environments=among, exclusive=exclusive, force=force)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _complete(prefix: Path, env: tuple[str, str, str] = ENV) -> Path:
    (prefix / "conda-meta").mkdir(parents=True)
    write_marker(str(prefix), env)
    return prefix


def test_it_has_its_place_when_it_is_complete_and_scripts_run_there(tmp_path: Path) -> None:
    prefix, seen = tmp_path / "made" / NAME, list[str]()

    def script() -> str:
        assert read_marker(str(prefix)) is None
        seen.append((prefix / "file").read_text())
        assert (tmp_path / "made" / CREATION_LOCK).read_text() == f"{socket.gethostname()} {os.getpid()}\n"
        return "" if len(seen) == 1 else "told"

    made = building(prefix)
    assert made.begin()
    (Path(made.path) / "file").write_text("content")
    assert not prefix.exists()
    assert made.complete([script, script], lock_timeout=1.0, sync=True) == ["told"]
    made.close()
    assert seen == ["content"] * 2
    assert read_marker(str(prefix)) == ENV
    assert _names(tmp_path / "made") == [NAME]
    assert _names(prefix) == [".metaflowenv", "file"]


def test_a_directory_has_the_mode_that_the_users_mask_gives(tmp_path: Path) -> None:
    made = building(tmp_path / NAME)
    made.begin()
    (tmp_path / "plain").mkdir()
    assert Path(made.path).stat().st_mode == (tmp_path / "plain").stat().st_mode
    made.close()


def test_a_script_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def script() -> str:
        raise HydrationError("it failed")

    made = building(tmp_path / NAME)
    made.begin()
    with pytest.raises(HydrationError, match="it failed"):
        made.complete([script], lock_timeout=1.0)
    made.close()
    made.close()
    assert _names(tmp_path) == []


def _directory(prefix: Path) -> None:
    prefix.mkdir()
    (prefix / "mine").touch()


def _file(prefix: Path) -> None:
    prefix.write_text("mine")


def _environment(prefix: Path) -> None:
    (prefix / "conda-meta").mkdir(parents=True)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (_directory, "exists and is no environment"),
        (_file, "exists and is no directory"),
        (_environment, "found another environment"),
        (lambda p: _complete(p, OTHER), f"found the environment {'a' * 40}:{'c' * 40} for linux-64; `--force`"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_is_not_ours_is_refused_before_and_after_it_was_made(
    what: Callable[[Path], object], reason: str, late: bool, tmp_path: Path
) -> None:
    prefix = tmp_path / "env"
    made = building(prefix, among=False)
    if not late:
        what(prefix)
        with pytest.raises(HydrationError, match=reason):
            made.begin()
    else:
        assert made.begin()
        what(prefix)
        with pytest.raises(HydrationError, match=reason):
            made.complete(lock_timeout=1.0)
    made.close()
    assert _names(tmp_path) == ["env"]


@pytest.mark.parametrize("what", [_directory, _environment, lambda p: _complete(p, OTHER)])
def test_a_name_that_says_the_ids_is_ours_among_environments_and_nowhere_else(
    what: Callable[[Path], object], tmp_path: Path
) -> None:
    prefix = tmp_path / NAME
    what(prefix)
    with pytest.raises(HydrationError):
        building(prefix, among=False).begin()
    made = building(prefix)
    assert made.begin()
    assert made.complete(lock_timeout=1.0) == []
    made.close()
    assert _names(tmp_path) == [NAME]
    assert _names(prefix) == [".metaflowenv"]


def test_force_replaces_environments_and_nothing_else(tmp_path: Path) -> None:
    for number, env in enumerate((ENV, OTHER)):
        prefix = _complete(tmp_path / f"env{number}", env)
        made = building(prefix, among=False, force=True)
        assert made.begin()
        assert made.complete(lock_timeout=1.0) == []
        made.close()
        assert _names(prefix) == [".metaflowenv"]
    _directory(tmp_path / "env2")
    with pytest.raises(HydrationError, match="is no environment"):
        building(tmp_path / "env2", among=False, force=True).begin()
    assert _names(tmp_path) == ["env0", "env1", "env2"]


@pytest.mark.parametrize("among", [True, False])
def test_who_comes_second_uses_what_is_complete(among: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_file_locks(monkeypatch)
    prefix = tmp_path / NAME
    first, second = (building(prefix, among=among, exclusive=False) for _ in range(2))
    assert first.begin()
    assert second.begin()
    (Path(first.path) / "first").touch()
    assert first.complete(lock_timeout=1.0) == []
    assert second.complete(lock_timeout=1.0) is None
    second.close()
    first.close()
    assert _names(tmp_path) == [NAME]
    assert _names(prefix) == [".metaflowenv", "first"]
    assert not building(prefix, among=among, exclusive=False).begin()


def test_the_lock_of_other_programs_is_waited_for_and_told(tmp_path: Path) -> None:
    (tmp_path / CREATION_LOCK).touch()
    made, said = building(tmp_path / NAME), list[float]()
    made.begin()
    with pytest.raises(LockTimeoutError, match=r"mf_env-creation\.lock was held by another program"):
        made.complete(lock_timeout=1.1, waiting=said.append)
    made.close()
    assert len(said) == 1
    assert _names(tmp_path) == [CREATION_LOCK]


def test_where_nobody_else_looks_their_lock_is_not_needed(tmp_path: Path) -> None:
    (tmp_path / CREATION_LOCK).touch()
    made = building(tmp_path / "env", among=False)
    made.begin()
    assert made.complete(lock_timeout=0.1) == []
    made.close()
    without = building(tmp_path / "env2", among=False, exclusive=False)
    without.begin()
    with pytest.raises(LockTimeoutError):
        without.complete(lock_timeout=0.1)
    without.close()


def _left(path: Path, *, mark: bool, age: float) -> Path:
    path.mkdir()
    if mark:
        (path / BUILDING).touch()
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_what_the_dead_left_is_removed_and_what_the_living_make_is_not(tmp_path: Path) -> None:
    made = building(tmp_path / NAME)
    made.begin()
    then = time.time() - 2 * DAY
    os.utime(made.path, (then, then))
    (tmp_path / ".prefix-left").touch()
    held = KernelLock(lock_path(str(tmp_path / NAME)))
    assert held.take()
    dead = [
        _left(tmp_path / ".x.asynccache-unlocked", mark=True, age=120),
        _left(tmp_path / ".x.asynccache-bare", mark=False, age=120),
    ]
    young = _left(tmp_path / ".x.asynccache-young", mark=False, age=0)
    (tmp_path / ".x.asynccache-file").touch()
    (tmp_path / "x.asynccache-seen").mkdir()
    assert sorted(sweep(str(tmp_path))) == sorted(map(str, dead))
    assert Path(made.path).exists()
    assert young.exists()
    assert held.is_held()
    assert not (tmp_path / ".prefix-left").exists()
    assert sweep(str(tmp_path), str(tmp_path / "x")) == [str(young)]
    held.release()
    made.close()


def test_without_locks_only_what_is_a_day_old_is_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch)
    old = _left(tmp_path / ".x.asynccache-old", mark=True, age=DAY + 60)
    _left(tmp_path / ".x.asynccache-new", mark=True, age=DAY - 60)
    assert sweep(str(tmp_path)) == [str(old)]


def test_one_prefix_has_one_lock_beside_it_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    one, other = lock_path(str(tmp_path / "env")), lock_path(str(tmp_path / "link" / "env"))
    assert Path(one).parent == tmp_path
    assert Path(one).name == Path(other).name
    assert lock_path(str(tmp_path / "env2")) != one


def test_removing_takes_a_directory_away_at_once(tmp_path: Path) -> None:
    _complete(tmp_path / "env")
    remove_prefix(str(tmp_path / "env"))
    remove_prefix(str(tmp_path / "env"))
    assert _names(tmp_path) == []
