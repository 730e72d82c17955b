"""Asks every front of asynccache for its settings, for many configurations in one process tree.

`python fronts.py` reads a JSON list of configurations from standard input and prints a JSON list of answers: front ->
[exit code, what it printed]. Each front of each configuration has a forked process of its own, since Metaflow reads its
configuration when it is imported.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

KEPT = ("PATH", "LANG", "LC_ALL")


def command(_configuration: dict[str, Any]) -> int:
    """Ask `asynccache config`."""
    from asynccache_cli.main import run

    return run(["config", "--json"])


def metaflow(configuration: dict[str, Any]) -> int:
    """Ask `metaflow environment config`, and what other extensions and programs read in `metaflow.metaflow_config`."""
    from metaflow import metaflow_config
    from metaflow.cmd.main_cli import start

    names = {n: v for n, v in vars(metaflow_config).items() if n.startswith("CONDA_")}
    sys.stdout.write(json.dumps(names, default=str) + "\n")
    sys.stdout.flush()
    datastore = configuration.get("datastore")
    flag = ["--datastore", datastore] if datastore else []
    sys.argv = ["metaflow", "environment", *flag, "config", "--json"]
    try:
        start()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    return 0


def session(configuration: dict[str, Any]) -> int:
    """Ask a session for programs."""
    from asynccache.api import Session
    from asynccache.config import load_settings
    from asynccache.errors import AsyncCacheError

    datastore = configuration.get("datastore")
    try:
        settings = Session(load_settings({"datastore": datastore}).settings if datastore else None).settings
        values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
        if settings.store is None and settings.datastore == "local":
            values["store"] = str(settings.root)
    except AsyncCacheError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    sys.stdout.write(json.dumps(values, default=str))
    return 0


FRONTS: dict[str, Callable[[dict[str, Any]], int]] = {"command": command, "metaflow": metaflow, "session": session}


def answer(configuration: dict[str, Any], place: Path) -> dict[str, tuple[int, str]]:
    """Write a configuration's files, and ask every front."""
    home, work = place / "home", place / "work"
    for name, content in configuration.get("files", {}).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    for directory in (home, work):
        directory.mkdir(parents=True, exist_ok=True)
    variables = {name: os.environ[name] for name in KEPT if name in os.environ}
    variables.update({"HOME": str(home), "USER": "ann"}, **configuration.get("variables", {}))
    answers = {}
    for front, ask in FRONTS.items():
        more = dict(variables)
        if front == "command" and configuration.get("datastore"):
            more["ASYNCCACHE_DATASTORE"] = configuration["datastore"]
        output = place / front
        child = os.fork()
        if child == 0:
            _become(ask, configuration, more, work, output)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers[front] = (code, output.read_text().replace(str(place), "/PLACE"))
    return answers


def _become(
    ask: Callable[[dict[str, Any]], int],
    configuration: dict[str, Any],
    variables: dict[str, str],
    work: Path,
    out: Path,
) -> None:
    code = 1
    try:
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(work)
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = ask(configuration)
    except BaseException:  # noqa: BLE001 - whatever it is is the answer
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Answer all, two at a time."""
    import multiprocessing.pool  # noqa: F401 - what all of them import, imported once

    import requests  # noqa: F401 - as above
    import yaml  # noqa: F401 - as above

    import asynccache.api  # noqa: F401 - as above

    configurations = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        places = [Path(os.path.realpath(scratch)) / str(number) for number in range(len(configurations))]
        sys.stdout.write(json.dumps(list(pool.map(answer, configurations, places))))


if __name__ == "__main__":
    main()
