"""Where programs are looked for, and what is said when they are not there."""

from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.errors import ResolverMissingError
from asynccache.resolve.conda.find_programs import find_program, require_program


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", "utf-8")
    path.chmod(mode)
    return path


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_path_is_searched_in_its_order(tmp_path: Path, here: Path) -> None:
    first, second = program(tmp_path / "a" / "mamba"), program(tmp_path / "b" / "mamba")
    for directories, expected in (
        (f"{first.parent}:{second.parent}", first),
        (f"{second.parent}:{first.parent}", second),
    ):
        found = find_program("mamba", Settings(), environ={"PATH": directories}, cwd=here)
        assert found is not None
        assert (found.path, found.root) == (expected, None)


def test_a_file_that_cannot_run_is_no_program(tmp_path: Path, here: Path) -> None:
    program(tmp_path / "a" / "mamba", 0o644)
    assert find_program("mamba", Settings(), environ={"PATH": str(tmp_path / "a")}, cwd=here) is None


def test_micromamba_alone_is_also_found_below_home(tmp_path: Path, here: Path) -> None:
    env = {"PATH": "", "HOME": str(tmp_path)}
    for name in ("micromamba", "mamba"):
        program(tmp_path / ".local" / "bin" / name)
    found = find_program("micromamba", Settings(), environ=env, cwd=here)
    assert found is not None
    assert found.path == tmp_path / ".local" / "bin" / "micromamba"
    assert find_program("mamba", Settings(), environ=env, cwd=here) is None


@pytest.mark.parametrize("place", ["../conda_env/micromamba", "conda_env/micromamba"])
def test_what_a_bootstrap_left_serves_as_conda_and_nothing_else_is_known(
    tmp_path: Path, here: Path, place: str
) -> None:
    left = program((here / place).resolve())
    env = {"PATH": str(program(tmp_path / "a" / "mamba").parent)}
    for name in ("conda", "micromamba"):
        found = find_program(name, Settings(), environ=env, cwd=here)
        assert found is not None
        assert found.path == left
    assert find_program("mamba", Settings(), environ=env, cwd=here) is None


def test_an_installation_counts_alone_and_once_it_is_complete(tmp_path: Path, here: Path) -> None:
    own = program(tmp_path / "local" / "bin" / "conda")
    env = {"PATH": str(program(tmp_path / "a" / "mamba").parent)}
    settings = Settings(conda_local_path=tmp_path / "local")
    assert find_program("conda", settings, environ=env, cwd=here) is None
    (tmp_path / "local" / ".metaflow-local-env").touch()
    found = find_program("conda", settings, environ=env, cwd=here)
    assert found is not None
    assert (found.path, found.root) == (own, tmp_path / "local")
    assert find_program("mamba", settings, environ=env, cwd=here) is None


@pytest.mark.parametrize("name", ["mamba", "conda", "micromamba"])
def test_a_missing_program_says_how_to_get_it_and_what_needs_nothing(here: Path, name: str) -> None:
    with pytest.raises(ResolverMissingError, match=f"Could not find conda binary for {name}; install .*`rattler`"):
        require_program(name, Settings(), environ={"PATH": ""}, cwd=here)


def test_a_missing_conda_lock_says_what_needs_no_program(here: Path) -> None:
    with pytest.raises(ResolverMissingError, match=r"conda-lock.*`builtin`"):
        require_program("conda-lock", Settings(), environ={"PATH": ""}, cwd=here)
