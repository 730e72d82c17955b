"""A forked command says and returns what the program does, and what hangs is killed."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command_line import ASYNCCACHE, run_command


def variables(home: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home), **more}


@pytest.mark.parametrize("words", [["config"], ["nothing-like-it"], ["ls", "--store", "missing"]], ids=" ".join)
def test_a_command_says_and_returns_what_the_program_does(tmp_path: Path, words: list[str]) -> None:
    environ = variables(tmp_path, ASYNCCACHE_CONNECTIONS="7")
    program = [ASYNCCACHE, *words]
    right = subprocess.run(program, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    done = run_command(words, cwd=tmp_path, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (right.returncode, right.stdout, right.stderr)


def test_commands_at_the_same_time_have_their_own_words_input_and_directory(tmp_path: Path) -> None:
    def ask(number: int) -> str:
        place = tmp_path / str(number)
        place.mkdir()
        done = run_command(
            ["cache", "--from", "-"],
            cwd=place,
            env=variables(place),
            stdin=f"file:///wrong-{number}/linux-64/a-1-0.conda#{'0' * 32}\n",
        )
        assert done.returncode
        return done.stderr

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(ask, range(4)))
    assert all(f"wrong-{number}" in text for number, text in enumerate(said))


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_command(["config"], cwd=tmp_path, env=variables(tmp_path), timeout=0)
    assert run_command(["--version"], cwd=tmp_path, env=variables(tmp_path)).stdout.startswith("asynccache")
