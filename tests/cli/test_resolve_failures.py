"""Each way in which resolving fails, as a person sees it: what is said, with which exit code, and what is left."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.model.package import Format
from tests.cli.resolving import Commands, serve
from tests.support.channel_index import write_index
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.conda_stub import write_stub
from tests.support.pypi_index import PyPIIndex, write_distribution
from tests.support.tiny_channel import write_tiny_channel
from tests.support.waiting import alive, until

SECRET = "s3cret-word"
AT = ("--python", "3.11.*", "--arch", "linux-64")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = write_tiny_channel(tmp_path_factory.mktemp("tiny") / "channel")
    cpu = Metadata(name="torch", version="2.1.0", build="cpu_h0_0", subdir="linux-64")
    write_package(root / "linux-64", cpu, [Member("share/torch", b"slow")], (Format.CONDA,))
    write_index(root)
    with serve(root) as address:
        yield address


@pytest.fixture
def run(tmp_path: Path, url: str) -> Commands:
    (tmp_path / "one.yml").write_text("dependencies: [app]\n")
    (tmp_path / "two.yml").write_text("dependencies: [extra]\n")
    (tmp_path / "requirements.txt").write_text("lib\n")
    return Commands(tmp_path, url)


@pytest.fixture
def programs(tmp_path: Path, run: Commands) -> Path:
    """A directory for programs that are found first; conda is asked for."""
    run.more = {
        "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "conda",
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    return tmp_path / "bin"


def test_a_program_that_crashes_shows_its_last_lines_without_credentials(run: Commands, programs: Path) -> None:
    lines = [*(f"line {number}" for number in range(50)), f"GET https://me:{SECRET}@host/x failed", f"sent {SECRET}"]
    write_stub(programs, "conda", stdout="", stderr="\n".join(lines), code=3)
    auth = json.dumps({"host": ["me", SECRET]})
    result = run("resolve", "one.yml", *AT, code=14, METAFLOW_CONDA_SRCS_AUTH_INFO=auth)
    assert "conda returned error (3)" in result.stderr
    assert "line 49" in result.stderr
    assert "GET https://host/x failed" in result.stderr
    assert "line 20" not in result.stderr
    assert SECRET not in result.stderr + result.stdout
    assert run.written() == []


def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started(
    run: Commands, programs: Path, tmp_path: Path
) -> None:
    orphan = tmp_path / "orphan"
    write_stub(programs, "conda", hang=100, orphan=str(orphan))
    result = run("resolve", "one.yml", *AT, code=13, ASYNCCACHE_RESOLVE_TIMEOUT="2")
    assert "took longer than 2 s" in result.stderr
    until(lambda: not alive(int(orphan.read_text())))
    assert run.written() == []


def test_an_index_that_cannot_be_reached_is_named_with_what_offline_would_do(run: Commands, tmp_path: Path) -> None:
    write_distribution(tmp_path / "index", "lib", "1.0")
    with PyPIIndex(tmp_path / "index") as index:
        address = index.url
        run.index = address
        never = run("resolve", "requirements.txt", *AT, "--offline", "--dry-run", code=12)
        assert "--offline" in never.stderr
        run("resolve", "requirements.txt", *AT, "--dry-run")
    # the index is gone: what was kept of it does offline, and otherwise it is named
    run("resolve", "requirements.txt", *AT, "--offline", "--dry-run")
    gone = run("resolve", "requirements.txt", *AT, "--dry-run", "--force", code=12, ASYNCCACHE_ATTEMPTS="1")
    assert f"the index {address} cannot be read" in gone.stderr
    assert "--offline" in gone.stderr


def test_a_package_with_other_bytes_than_its_index_says_is_refused(run: Commands, tmp_path: Path) -> None:
    root = write_tiny_channel(tmp_path / "lying")
    archive = next((root / "noarch").glob("lib-2.5-*"))
    archive.write_bytes(archive.read_bytes()[:-1] + b"?")
    with serve(root) as address:
        run.channel = address
        result = run("resolve", "one.yml", *AT, code=5, ASYNCCACHE_ATTEMPTS="2")
    assert archive.name in result.stderr
    assert "expected" in result.stderr
    assert not list((tmp_path / "st").rglob("env"))


def test_ten_at_once_and_the_failing_ones_are_shown_together(run: Commands, tmp_path: Path) -> None:
    names = [f"{number}.yml" for number in range(10)]
    for number, name in enumerate(names):
        packages = {3: "apps", 7: "picky, app=2"}.get(number, f"app, lib>={number % 3}.0")
        (tmp_path / name).write_text(f"dependencies: ['{packages.replace(', ', chr(39) + ', ' + chr(39))}']\n")
    result = run("resolve", *names, *AT, code=1)
    assert "error: 2 of 10 environments failed; the others are complete" in result.stderr
    assert "failed: 3.yml (linux-64): " in result.stderr
    assert "failed: 7.yml (linux-64): " in result.stderr
    assert result.stdout.count("### Environment") == 8


def test_a_gpu_that_would_get_a_build_for_cpus_is_told(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "gpu.yml").write_text("dependencies: [torch, __cuda=12.0]\n")
    result = run("resolve", "gpu.yml", *AT)
    assert "note: A GPU was asked for, but torch-2.1.0-cpu_h0_0 is a build for CPUs only." in result.stderr
    (tmp_path / "gpu.yml").write_text("dependencies: [torch]\n")
    assert "GPU" not in run("resolve", "gpu.yml", *AT).stderr


def test_a_conda_requirement_with_a_marker_is_known_when_it_is_asked_for_again(run: Commands, tmp_path: Path) -> None:
    text = "dependencies: [\"app; sys_platform == 'linux'\", \"nobody-has-this; sys_platform == 'win32'\"]\n"
    (tmp_path / "marked.yml").write_text(text)
    (first,) = run.resolve("marked.yml", *AT)
    (again,) = run.resolve("marked.yml", *AT)
    assert (first["known"], again["known"]) == (False, True)
    assert (again["req_id"], again["full_id"]) == (first["req_id"], first["full_id"])
    assert any("sys_platform" in value for value in first["document"]["deps"])
