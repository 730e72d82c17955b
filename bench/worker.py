"""What runs in a contender's process: one task, on packages that are there, with as little around it as possible.

    python -m bench.worker MODULE.FUNCTION '{"argument": ...}'

A task is a coroutine function, run as the work; or a function that imports and reads what it needs and returns the
work, or None if it only makes something ready. Of the arguments, `settings` become `asynccache.config.Settings`,
`packages` what the list holds that they name, and `loop` chooses the event loop. Then the clocks are read and the work
begins. The figures go to the file that `ASYNCCACHE_BENCH_RESULT` names.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.task import Figures, Work, cpu_seconds

if TYPE_CHECKING:
    from asynccache.config import Settings


_STORES: Final = {"s3": "s3", "az": "azure", "gs": "google"}


def _prepared(task: Callable[..., Any], arguments: dict[str, Any]) -> Work:
    if "packages" in arguments:
        arguments["packages"] = json.loads(Path(arguments["packages"]).read_text("utf-8"))
    if "settings" in arguments:
        arguments["settings"] = _settings(arguments["settings"])
    if not inspect.iscoroutinefunction(task):
        return task(**arguments) or (lambda: None)
    loop_factory = importlib.import_module("uvloop").new_event_loop if arguments.pop("loop", "") == "uvloop" else None

    def work() -> Figures | None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            figures: Figures | None = runner.run(task(**arguments))
            return figures

    return work


def _settings(values: dict[str, Any]) -> Settings:
    from asynccache.config import Settings  # noqa: PLC0415 - other tools' workers load nothing of ours

    scheme = str(values.get("store")).partition("://")[0]
    if scheme in _STORES:
        importlib.import_module(f"asynccache.store.{_STORES[scheme]}")  # start-up, not work
    paths: dict[str, Any] = {name: Path(values[name]) for name in ("cache_dir", "datastore_root") if name in values}
    return Settings(**{**values, **paths})


def main() -> None:
    """Run one task and write down its figures."""
    module, _, function = sys.argv[1].partition(".")
    work = _prepared(getattr(importlib.import_module(f"bench.{module}"), function), json.loads(sys.argv[2]))
    start_cpu, started = cpu_seconds(), time.perf_counter()
    figures = work() or {}
    said = {
        "start_cpu": start_cpu,
        "work_wall": time.perf_counter() - started,
        "work_cpu": cpu_seconds() - start_cpu,
        **figures,
    }
    Path(os.environ["ASYNCCACHE_BENCH_RESULT"]).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
