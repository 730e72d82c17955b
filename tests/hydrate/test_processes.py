"""Several processes that want one environment make it once; one that is killed leaves nothing that stays."""

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.engine.engine import Engine
from asynccache.engine.events import Event, LockWaited
from asynccache.errors import LockTimeoutError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.prefix import environments_directory, lock_path
from asynccache.model.environment import ResolvedEnvironment
from asynccache.node.building import CREATION_LOCK
from tests.support.effort import tries

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = tries(8, 100)
PROGRAM = [sys.executable, "-m", "tests.hydrate.hydrating_process"]


@pytest.fixture
def document(small: ResolvedEnvironment, tmp_path: Path) -> Path:
    path = tmp_path / "env.json"
    path.write_text(json.dumps({"env_id": small.id.as_list(), **small.as_document()}))
    return path


def _start(count: int, *words: str | Path) -> list[dict[str, object]]:
    processes = [
        subprocess.Popen([*PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY)
        for _ in range(count)
    ]
    results = []
    for process in processes:
        out, error = process.communicate(timeout=100)
        assert process.returncode == 0, error.decode()
        results.append(json.loads(out))
    return results


def _fetched(results: Sequence[dict[str, object]]) -> int:
    return sum(int(str(r["fetched"])) for r in results)


def _dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def _holding(lock: Path) -> subprocess.Popen[str]:
    """Start a process that holds a kernel lock until it is killed."""
    program = (
        "import fcntl, json, os, socket, sys, time\n"
        "f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
        "json.dump({'pid': os.getpid(), 'host': socket.gethostname(), 'since': time.time()}, f); f.flush()\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("count", [4, pytest.param(16, marks=[pytest.mark.slow, pytest.mark.long])])
def test_one_process_makes_the_environment_and_the_others_use_it(
    small: ResolvedEnvironment, document: Path, tmp_path: Path, count: int
) -> None:
    (alone,) = _start(1, "create", tmp_path / "store", tmp_path / "alone", document, tmp_path / "alone-env")
    results = _start(count, "create", tmp_path / "store", tmp_path / "node", document, tmp_path / "env")
    assert sum(bool(r["created"]) for r in results) == 1
    assert {str(r["prefix"]) for r in results} == {str(tmp_path / "env")}
    assert _fetched(results) == _fetched([alone]) > 0
    assert (tmp_path / "env/bin/python").exists()


def test_processes_that_make_different_prefixes_fetch_each_package_once(
    small: ResolvedEnvironment, document: Path, tmp_path: Path
) -> None:
    words = [*PROGRAM, "create", str(tmp_path / "store"), str(tmp_path / "node"), str(document)]
    processes = [
        subprocess.Popen([*words, str(tmp_path / f"env{n}")], stdout=subprocess.PIPE, cwd=REPOSITORY) for n in range(3)
    ]
    results = [json.loads(p.communicate(timeout=100)[0]) for p in processes]
    assert all(r["created"] for r in results)
    (alone,) = _start(1, "create", tmp_path / "store", tmp_path / "alone", document, tmp_path / "alone-env")
    assert _fetched(results) == _fetched([alone])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_creation_killed_at_any_moment_is_whole_after_the_next_one(
    small: ResolvedEnvironment, document: Path, tmp_path: Path
) -> None:
    words = [*PROGRAM, "killed", str(tmp_path / "store"), str(tmp_path / "killed"), str(document), str(KILLS), "5"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=280, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["broken"] == []
    assert result["hit"] == KILLS
    assert {"extracting", "linking"} <= set(result["stages"])


async def test_who_waits_says_for_whom_and_gives_up_after_the_time_out(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    with _holding(lock_path(tmp_path / "env")) as holder:
        engine.host.workspace.locks.timeout = 1.5
        who = f"process {holder.pid} on {socket.gethostname()}"
        with pytest.raises(LockTimeoutError, match=f"the environment {tmp_path}/env, which {who}"):
            await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
        assert [e.holder.startswith(who) for e in events if isinstance(e, LockWaited)] == [True]
        holder.kill()
    engine.host.workspace.locks.timeout = 60
    assert (await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")).created


async def test_the_other_programs_lock_on_environments_is_honoured_and_a_dead_one_of_ours_is_not(
    engine: Engine, tiny: ResolvedEnvironment
) -> None:
    host = replace(engine.host, settings=replace(engine.host.settings, lock_timeout=0.3))
    directory = environments_directory(host.settings)
    directory.mkdir(parents=True)
    lock = directory / CREATION_LOCK
    lock.touch()  # as the other program makes it: empty
    with pytest.raises(LockTimeoutError, match=r"mf_env-creation\.lock was held by another program"):
        await hydrate(host, engine.sources, tiny, directory / "env")
    assert [p.name for p in directory.iterdir()] == [CREATION_LOCK]
    lock.write_text(f"{socket.gethostname()} {_dead_process()}\n")
    assert (await hydrate(host, engine.sources, tiny, directory / "env")).created
    assert not lock.exists()
