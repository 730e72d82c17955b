"""An environment is found where it lies, whoever made it, and is there only when all of it is."""

import json
import os
import sys
from pathlib import Path

import pytest

from asynccache.errors import DiskError
from asynccache.node.environments import (
    default_cache_directory,
    environment_name,
    environments_directory,
    find_complete,
    ids_in_name,
    note_use,
    read_marker,
    write_marker,
)

ENV = ("a" * 40, "b" * 40, "linux-64")
OTHER = ("a" * 40, "b" * 40, "osx-arm64")


def _made(directory: Path, kind: str, env: tuple[str, str, str] = ENV) -> str:
    prefix = directory / environment_name(*ENV[:2], kind)
    prefix.mkdir(parents=True)
    write_marker(str(prefix), env)
    return str(prefix)


def _found(directory: Path, kind: str) -> str | None:
    return find_complete(str(directory / environment_name(*ENV[:2], kind)), ENV)


def test_names_are_those_of_the_contract() -> None:
    assert [environment_name(*ENV[:2], kind) for kind in ("step", "tmp", "builder")] == [
        f"{start}{'a' * 40}_{'b' * 40}" for start in ("metaflow_", "metaflowtmp_", "metaflow_builder_")
    ]
    for kind in ("step", "tmp", "builder"):
        assert ids_in_name(environment_name(*ENV[:2], kind)) == ENV[:2]
    for name in ("metaflow_x_y", "env", "metaflow_" + "a" * 40, environment_name(*ENV[:2], "step") + "x"):
        assert ids_in_name(name) is None


def test_the_marker_has_the_bytes_of_the_contract(tmp_path: Path) -> None:
    write_marker(str(tmp_path), ENV, sync=True)
    assert (tmp_path / ".metaflowenv").read_bytes() == json.dumps(list(ENV)).encode()
    assert [path.name for path in tmp_path.iterdir()] == [".metaflowenv"]
    assert read_marker(str(tmp_path)) == ENV


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'["a", "b"]', b"{", b"null", b"7", b'"abcd"', b"\xff", b'["a","b","c","d"]']
)
def test_a_damaged_marker_is_none(data: bytes, tmp_path: Path) -> None:
    assert read_marker(str(tmp_path)) is None
    (tmp_path / ".metaflowenv").write_bytes(data)
    assert read_marker(str(tmp_path)) is None


@pytest.mark.parametrize(("made", "wanted"), [("step", "tmp"), ("tmp", "step"), ("step", "step"), ("tmp", "tmp")])
def test_steps_and_create_take_the_environment_that_the_other_made(made: str, wanted: str, tmp_path: Path) -> None:
    prefix = _made(tmp_path, made)
    assert _found(tmp_path, wanted) == prefix


def test_the_own_name_comes_first(tmp_path: Path) -> None:
    both = {kind: _made(tmp_path, kind) for kind in ("step", "tmp")}
    assert {kind: _found(tmp_path, kind) for kind in both} == both


def test_what_is_another_environment_or_made_for_something_else_is_not_taken(tmp_path: Path) -> None:
    _made(tmp_path, "builder")
    _made(tmp_path, "tmp", OTHER)
    (tmp_path / environment_name(*ENV[:2], "step") / "bin").mkdir(parents=True)  # incomplete
    for kind in ("step", "tmp"):
        assert _found(tmp_path, kind) is None
    assert _found(tmp_path, "builder") is not None
    _made(tmp_path / "elsewhere", "step")
    assert find_complete(str(tmp_path / "elsewhere" / "a-name-of-its-own"), ENV) is None


def test_using_one_changes_its_time_alone(tmp_path: Path) -> None:
    prefix = Path(_made(tmp_path, "step"))
    os.utime(prefix / ".metaflowenv", (1.0, 1.0))
    note_use(str(prefix))
    assert (prefix / ".metaflowenv").stat().st_mtime > 1.0
    note_use(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_node_looks_where_the_engine_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asynccache.config import Settings
    from asynccache.hydrate import prefix as places

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_directory() == str(Settings().cache_dir)
    assert environments_directory() == str(places.environments_directory(Settings()))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_directory() == str(Settings().cache_dir)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_cache_directory() == str(Settings().cache_dir) == str(tmp_path / "home/Library/Caches/asynccache")
    monkeypatch.setenv("ASYNCCACHE_CACHE_DIR", str(tmp_path / "cache"))
    assert environments_directory() == str(places.environments_directory(Settings(cache_dir=tmp_path / "cache")))
    monkeypatch.setenv("ASYNCCACHE_ENVIRONMENTS_DIR", str(tmp_path / "envs"))
    assert environments_directory() == str(tmp_path / "envs")
    assert environments_directory(configured=str(tmp_path / "configured")) == str(tmp_path / "envs")
    assert environments_directory(str(tmp_path / "asked")) == str(tmp_path / "asked")
    monkeypatch.delenv("ASYNCCACHE_ENVIRONMENTS_DIR")
    assert environments_directory(configured=str(tmp_path / "configured")) == str(tmp_path / "configured")


def test_where_there_is_no_home_the_working_directory_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in ("ASYNCCACHE_CACHE_DIR", "ASYNCCACHE_ENVIRONMENTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert environments_directory() == str(tmp_path / "asynccache_envs")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user that is in no list of users
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert environments_directory() == str(tmp_path / "asynccache_envs")
    with pytest.raises(DiskError, match="no home directory"):
        environments_directory("~/envs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asynccache_envs", "file"]
    with pytest.raises(DiskError, match=r"no directory for environments: .*file/envs .*name another one"):
        environments_directory(str(tmp_path / "file" / "envs"))
