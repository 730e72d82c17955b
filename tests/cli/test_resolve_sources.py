"""Packages that are published, or lie, as source only: built with the target's Python, stored, found again, run."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.model.platform import current_architecture
from tests.cli.resolving import Commands, serve
from tests.support.builder_channel import builder_channel
from tests.support.pypi_index import PyPIIndex, write_distribution, write_sdist, write_source_tree
from tests.support.static_files import serve_files
from tests.support.stores import archives_in, damaged_in

ARCH = current_architecture()
pytestmark = pytest.mark.xdist_group("builder-channel")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")


@pytest.fixture(scope="module")
def channel() -> Iterator[tuple[str, str]]:
    built = builder_channel()
    python = next(p.record["version"] for p in built.packages if p.name == "python")
    with serve(built.root) as address:
        yield address, python


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    wheels = tmp_path / "index"
    write_distribution(wheels, "lib", "2.5")
    write_sdist(wheels, "source-only", "1.2", requires=["lib"])
    with PyPIIndex(wheels) as serving:
        yield serving


@pytest.fixture
def run(tmp_path: Path, channel: tuple[str, str], index: PyPIIndex) -> Commands:
    # of this machine, since its Python runs here
    more = {"ASYNCCACHE_SYS_DEFAULT_PACKAGES": json.dumps({ARCH: {"__glibc": "2.28"}})}
    return Commands(tmp_path, channel[0], index.url, more)


def git(*words: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_an_sdist_is_built_stored_beside_its_source_and_found_again(
    run: Commands, channel: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("source-only\n")
    at = ("requirements.txt", "--python", channel[1], "--arch", ARCH)
    (row,) = run.resolve(*at, "--alias", "team/built:v1")
    packages = {p["filename"]: p for p in row["document"]["packages"]}
    built = packages["source_only-1.2-py3-none-any"]
    assert built["url_format"] == ".tar.gz"
    assert set(built["hashes"]) == set(built["cache_info"]) == {".tar.gz", ".whl"}
    assert built["url"].endswith("source_only-1.2.tar.gz")
    kinds = [p["_type"] for p in row["document"]["packages"]]
    assert kinds == sorted(kinds, reverse=True)
    assert damaged_in(tmp_path / "st") == []
    stored = archives_in(tmp_path / "st")
    # the environment is whole: hydrated from the store, its Python imports what was built
    run("create", "team/built:v1", "--arch", ARCH, "--prefix", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    said = subprocess.run(
        [python, "-c", "import source_only, lib; print(source_only.BUILT_WITH, lib.VERSION)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split()[-1] == "2.5"
    assert said.stdout.startswith(f"({', '.join(channel[1].split('.')[:2])})")
    # resolved again, the wheel of the store is taken: the id stays
    again = run.resolve(*at, "--force")[0]
    assert again["full_id"] == row["full_id"]
    assert archives_in(tmp_path / "st") == stored


@needs_git
@pytest.mark.long
def test_a_directory_and_a_repository_are_built_under_another_version(
    run: Commands, channel: tuple[str, str], tmp_path: Path
) -> None:
    tree = write_source_tree(tmp_path / "tree", "local-thing", "1.0", requires=["lib"])
    repository = write_source_tree(tmp_path / "repository", "git-thing", "2.0")
    git("init", "-q", "-b", "main", cwd=repository)
    git("add", ".", cwd=repository)
    git("commit", "-q", "-m", "first", cwd=repository)
    commit = git("rev-parse", "HEAD", cwd=repository)
    text = f"local-thing @ file://{tree}\ngit-thing @ git+file://{repository}@main\n"
    (tmp_path / "requirements.txt").write_text(text)
    (row,) = run.resolve("requirements.txt", "--python", channel[1], "--arch", ARCH, "--alias", "team/local")
    packages = {p["filename"].split("-")[0]: p for p in row["document"]["packages"]}
    for name, mark in (("local_thing", "file://_fake/local-"), ("git_thing", "_fake/")):
        assert "+mfbuild" in packages[name]["filename"]
        assert mark in packages[name]["url"]
        assert set(packages[name]["cache_info"]) == {".whl"}
    assert commit in packages["git_thing"]["url"]
    assert str(tmp_path) not in packages["local_thing"]["url"]
    run("warm", "--env", "team/local", "--arch", ARCH, "--to", "remote")


@needs_git
@pytest.mark.long
def test_a_repository_by_http_with_a_submodule_and_a_zipped_sdist_are_built_once(
    run: Commands, channel: tuple[str, str], index: PyPIIndex, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    # what builds is in the submodule: without it there is nothing to build with
    project = write_source_tree(served / "project", "git-thing", "2.0", requires=["zipped"])
    vendored = served / "vendored"
    vendored.mkdir()
    (project / "backend.py").rename(vendored / "backend.py")
    toml = project / "pyproject.toml"
    toml.write_text(toml.read_text("utf-8").replace('["."]', '["vendored"]'), "utf-8")
    for repository in (vendored, project):
        git("init", "-q", "-b", "main", cwd=repository)
        git("add", ".", cwd=repository)
        git("commit", "-q", "-m", "first", cwd=repository)
        git("update-server-info", cwd=repository)
    write_sdist(index.directory, "zipped", "0.3", fmt=".zip")
    with serve_files(served) as host:
        git("submodule", "--quiet", "add", f"http://{host}/vendored/.git", "vendored", cwd=project)
        git("commit", "-q", "-m", "second", cwd=project)
        git("tag", "v2", cwd=project)
        git("update-server-info", cwd=project)
        (tmp_path / "requirements.txt").write_text(f"git-thing @ git+http://{host}/project/.git#v2\n")
        at = ("requirements.txt", "--python", channel[1], "--arch", ARCH)
        (row,) = run.resolve(*at, "--alias", "team/git")
        stored = archives_in(tmp_path / "st")
        # the second time the wheels of the store are taken
        (again,) = run.resolve(*at, "--force")
    packages = {p["filename"].split("-")[0]: p for p in row["document"]["packages"]}
    commit = git("rev-parse", "v2", cwd=project)
    assert packages["git_thing"]["url"] == f"http://_fake/{host}/project/.git/{commit}"
    assert "+mfbuild" in packages["git_thing"]["filename"]
    assert packages["zipped"]["url_format"] == ".zip"
    assert set(packages["zipped"]["cache_info"]) == {".zip", ".whl"}
    assert (again["full_id"], archives_in(tmp_path / "st")) == (row["full_id"], stored)
    run("create", "team/git", "--arch", ARCH, "--prefix", tmp_path / "env")
    command = [str(tmp_path / "env" / "bin" / "python"), "-c", "import git_thing, zipped"]
    subprocess.run(command, check=True)


@pytest.mark.long
def test_a_second_build_solves_and_makes_no_helper_environment_again(
    run: Commands, channel: tuple[str, str], index: PyPIIndex, tmp_path: Path
) -> None:
    write_sdist(index.directory, "another", "0.3", requires=["lib"])
    for name in ("source-only", "another"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\n")
    at = ("--python", channel[1], "--arch", ARCH)
    with serve(builder_channel().root) as address:
        run.channel = address
        (first,) = run.resolve("source-only.txt", *at)
    made = {marker: marker.stat().st_ino for marker in tmp_path.rglob("metaflow_builder_*/.metaflowenv")}
    assert len(made) == 1
    # the channel is gone: whatever asked it would fail
    (second,) = run.resolve("another.txt", *at)
    assert {m: m.stat().st_ino for m in tmp_path.rglob("metaflow_builder_*/.metaflowenv")} == made
    of_conda = [[p["filename"] for p in r["document"]["packages"] if p["_type"] == "conda"] for r in (first, second)]
    assert of_conda[0] == of_conda[1]
    assert second["bytes"]
    # wheels that the store has need no Python to build them
    shutil.rmtree(next(iter(made)).parent)
    (tmp_path / "both.txt").write_text("another\nsource-only\n")
    run.resolve("both.txt", *at)
    assert not list(tmp_path.rglob("metaflow_builder_*/.metaflowenv"))


def test_a_build_that_fails_is_told_and_leaves_nothing(
    run: Commands, channel: tuple[str, str], index: PyPIIndex, tmp_path: Path
) -> None:
    write_sdist(index.directory, "broken", "1.0", before_build="raise RuntimeError('no compiler here')")
    (tmp_path / "requirements.txt").write_text("broken\n")
    result = run("resolve", "requirements.txt", "--python", channel[1], "--arch", ARCH, code=15)
    assert "broken could not be built" in result.stderr
    assert "no compiler here" in result.stderr
    assert not (tmp_path / "st" / "envs").exists()
    assert not (tmp_path / ".metaflow").exists()


@pytest.mark.long
def test_uv_and_pip_find_the_same_versions(run: Commands, channel: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("lib==2.5\n")
    found = [
        run.resolve("requirements.txt", "--python", channel[1], "--arch", ARCH, "--force", "--resolver", name)[0]
        for name in ("uv", "pip")
    ]
    assert found[0]["full_id"] == found[1]["full_id"]
    assert [row["resolver"] for row in found] == ["uv", "pip"]
