"""The sets of packages that are measured on."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from bench import inputs
from bench.harness import REPOSITORY, ContenderError
from bench.input_files import Recipe
from bench.inputs import load


def test_a_set_has_both_forms_of_each_package_and_their_digests() -> None:
    archives = load("mix-quick")
    names = [archive.path.name for archive in archives]
    assert sum(n.endswith(".conda") for n in names) == sum(n.endswith(".tar.bz2") for n in names) == 3
    for archive in archives:
        data = archive.path.read_bytes()
        assert archive.size == len(data)
        assert archive.md5 == hashlib.md5(data).hexdigest()
        assert archive.sha256 == hashlib.sha256(data).hexdigest()


def test_a_set_is_made_once() -> None:
    before = [(a.path, a.path.stat().st_mtime_ns) for a in load("mix-quick")]
    told: list[str] = []
    assert [(a.path, a.path.stat().st_mtime_ns) for a in load("mix-quick", told.append)] == before
    assert told == []


def test_an_address_names_the_directory_that_the_server_serves() -> None:
    archive = load("mix-quick")[0]
    address = archive.address("http://127.0.0.1:1")
    assert address["url"] == f"http://127.0.0.1:1/linux-64/{archive.path.name}"


def test_an_unknown_set_is_an_error() -> None:
    with pytest.raises(ContenderError, match="no inputs `nothing-like-it`"):
        load("nothing-like-it")


def test_the_measuring_process_loads_no_libraries() -> None:
    # what it holds in memory when it starts a contender would count as that contender's peak
    code = (
        "import sys, bench.run\n"
        "print({'numpy', 'zstandard', 'aiohttp', 'aiobotocore', 'asyncio', 'tests.support'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "set()"


def test_making_a_set_removes_its_own_old_versions_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, old = tmp_path / ".cache/bench/mix-quick-0123456789ab", tmp_path / ".cache/bench/mix-0123456789ab"
    kept.mkdir(parents=True)
    old.mkdir()
    monkeypatch.setattr(inputs, "REPOSITORY", tmp_path)
    monkeypatch.setitem(inputs.RECIPES, "mix", Recipe("both", sizes=(1 << 16,)))
    monkeypatch.setattr(inputs, "_directory", lambda name: tmp_path / ".cache" / "bench" / f"{name}-ffffffffffff")
    inputs._make("mix")
    assert kept.is_dir()
    assert not old.exists()
    assert len(inputs.load("mix")) == 2
