"""Kills commands at random moments, again and again, and looks at what each left in a local store.

    python -m tests.kills.killed_commands COMMAND DIRECTORY KILLS SEED

Children are forked from a process that has imported everything, so that most of a child's life is the command itself.
Prints one JSON line: kills that hit a running child, and what must not be.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Final

from tests.faults.bed import ENVIRONMENT, write_channel
from tests.support.stores import archives_in, damaged_in

KILLS_A_STORE: Final = 5  # later kills fall into later parts of the run
IMPORT: Final = ("env", "import", "list.txt", "--alias", ENVIRONMENT)
COMMANDS: Final = {  # words, and what the store holds before
    "cache": (("cache", "--from", "list.txt", "--format", ".conda"), "empty"),
    "warm": (("warm", "--env", ENVIRONMENT, "--to", "both"), "partial"),
    "backfill": (("backfill", "--to", ".conda"), "whole"),
    "pack": (("pack", ENVIRONMENT), "whole"),
    "import": (IMPORT, "empty"),
}


def main() -> None:
    """Do what the arguments say."""
    command, directory, kills, seed = sys.argv[1:]
    result = kill(command, Path(directory), int(kills), seed)
    print(json.dumps(result))  # noqa: T201 - its result


def kill(command: str, directory: Path, kills: int, seed: str) -> dict[str, object]:
    """Kill a command so often; return how many kills hit it, and what was wrong."""
    _import_all()
    words, before = COMMANDS[command]
    directory.mkdir(parents=True)
    paths = write_channel(directory / "channel")
    lines = [f"{(directory / 'channel' / path).as_uri()}" for path in paths]
    (directory / "list.txt").write_text("@EXPLICIT\n" + "\n".join(lines) + "\n", "utf-8")
    begun = _begun(directory, before)
    source, hit, wrong = random.Random(f"{seed}/{command}"), 0, list[str]()

    reference = _place(directory, "r0000", begun)
    started = time.monotonic()
    wrong += _ended(_forked(reference, words, directory))
    whole = time.monotonic() - started
    expected = _listing(reference)
    number = on_this = 0
    place = _place(directory, "k0000", begun)
    while hit < kills and number < 5 * kills:
        pid = _forked(place, words, directory)
        time.sleep(source.uniform(0, whole))
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            hit, on_this = hit + 1, on_this + 1
        elif status:
            wrong.append(f"a run ended with status {status}: {_said(place)}")
        else:
            whole *= 0.7  # it was slower when it was measured
        wrong += _broken(place, begun, expected)
        if done or on_this == KILLS_A_STORE or hit == kills:
            wrong += _ended(_forked(place, words, directory), place)
            wrong += _broken(place, begun, expected)
            if _listing(place) != expected:
                wrong.append(f"the rerun leaves another store: {sorted(set(_listing(place)) ^ set(expected))[:4]}")
            wrong += [f"{path} is left" for path in (place / "cache" / "work").rglob("*") if path.is_file()]
            shutil.rmtree(place)
            number, on_this = number + 1, 0
            place = _place(directory, f"k{number:04}", begun)
    return {"hit": hit, "stores": number, "seconds": round(whole, 2), "wrong": wrong}


def _import_all() -> None:
    for name in ("aiohttp", "asynccache_cli.main", "asynccache.api", "rattler", "uvloop", "yaml", "zstandard"):
        __import__(name)


def _begun(directory: Path, before: str) -> Path:
    """Make the store that each try begins with."""
    begun = directory / "begun"
    (begun / "store").mkdir(parents=True)
    if before != "empty":
        for problem in _ended(_forked(begun, IMPORT, directory), begun):
            raise RuntimeError(problem)
        shutil.rmtree(begun / "cache")
        if before == "partial":
            for path in archives_in(begun / "store")[::2]:
                path.unlink()
    return begun


def _place(directory: Path, name: str, begun: Path) -> Path:
    place = directory / name
    shutil.copytree(begun, place)
    return place


def _forked(place: Path, words: tuple[str, ...], directory: Path) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.environ.update({
                "HOME": str(place), "METAFLOW_USER": "ann", "ASYNCCACHE_STORE": str(place / "store"),
                "ASYNCCACHE_CACHE_DIR": str(place / "cache"), "ASYNCCACHE_PACK": "never",
            })  # fmt: skip
            os.chdir(directory)
            output = os.open(place / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.argv = ["asynccache", *words]
            from asynccache_cli.main import main as run

            run()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def _ended(pid: int, place: Path | None = None) -> list[str]:
    status = os.waitpid(pid, 0)[1]
    return [f"a run ended with status {status}: {_said(place) if place else ''}"] if status else []


def _said(place: Path) -> str:
    return (place / "output.txt").read_text("utf-8", "replace")[-1500:]


def _listing(place: Path) -> list[str]:
    """Return what a store is made of: archives with their content, and the keys of everything of environments."""
    store = place / "store"
    found = [f"{p.relative_to(store)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in archives_in(store)]
    return found + sorted(str(p.relative_to(store)) for p in (store / "envs").rglob("*") if p.is_file())


def _broken(place: Path, begun: Path, expected: list[str]) -> list[str]:
    """Return what nobody may see, at whatever moment."""
    store = place / "store"
    wrong = [f"{key} is not what its key says" for key in damaged_in(store)]
    now = {str(p.relative_to(store)): p for p in archives_in(store)}
    for path in archives_in(begun / "store"):
        key = str(path.relative_to(begun / "store"))
        if key not in now:
            wrong.append(f"{key} was lost")
    wrong += [f"{key} is none of the reference" for key in set(_listing(place)) - set(expected)]
    for path in (store / "envs").rglob("env"):
        if path.is_dir():
            continue  # an alias of that name
        try:
            json.loads(path.read_bytes())
        except ValueError:
            wrong.append(f"{path.relative_to(store)} is no document")
    return wrong


if __name__ == "__main__":
    main()
