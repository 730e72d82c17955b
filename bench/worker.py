"""What runs in a contender's process: one task, on packages that are there, with as little around it as possible.

    python -m bench.worker TASK '{"argument": ...}'

Imports come first; then the clocks are read and the work begins. The figures go to the file that
`ASYNCCACHE_BENCH_RESULT` names.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.clocks import cpu_seconds

Work = Callable[[], dict[str, float] | None]
"""The work itself; may return figures of its own."""


def prepare_ours(files: Sequence[str], out: str, *, threads: int = 1, verify: bool = True, to: str) -> Work:
    """Transmute one file after another with asynccache's archive room, as one package of the engine does."""
    from asynccache.archive import transmute  # noqa: PLC0415

    pairs = [(Path(file), Path(out) / _other_name(file, to)) for file in files]

    def work() -> None:
        for source, target in pairs:
            transmute(source, target, level=3, verify=verify, threads=threads)

    return work


def prepare_ours_side_by_side(files: Sequence[str], out: str, *, cores: int, to: str) -> Work:
    """Transmute several files at once with what `asynccache transmute` calls, on so many cores and no others."""
    from asynccache.api import Session, Settings  # noqa: PLC0415
    from asynccache.ops import transmute_files  # noqa: F401, PLC0415 - imports are not measured

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    async def transmute() -> None:
        async with Session(Settings(zstd_level=3, verify_transmute=True, cpu_slots=cores)) as session:
            (await session.transmute(*files, to=to, out=out)).raise_for_failures()

    def work() -> None:
        asyncio.run(transmute())

    return work


def prepare_cph(files: Sequence[str], out: str, *, to: str) -> Work:
    """Transmute one file after another as `cph transmute` does with one process: it verifies by reading both again."""
    api = importlib.import_module("conda_package_handling.api")

    def work() -> None:
        for file in files:
            failed = api.transmute(file, to, out_folder=out, processes=1, zstd_compress_level=3)
            if failed:
                raise RuntimeError(str(failed))

    return work


def prepare_streaming(files: Sequence[str], out: str, *, to: str) -> Work:
    """Transmute with conda-package-streaming, which does not verify."""
    transmute = importlib.import_module("conda_package_streaming.transmute")

    def work() -> None:
        for file in files:
            if to == ".conda":
                transmute.transmute(file, out, compression_level=3)
            else:
                transmute.transmute_tar_bz2(file, out)

    return work


def prepare_bucket(endpoint: str, bucket: str) -> Work:
    """Make a bucket; not done by the measuring process, which the client would make too large."""
    session = importlib.import_module("botocore.session").Session()

    def work() -> None:
        client = session.create_client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket=bucket)
        client.close()

    return work


def prepare_nothing() -> Work:
    """Do nothing at all: what the interpreter's start costs."""
    return lambda: None


# task -> module, function that prepares it, and whether that is told which of its tasks is meant
_MODULES: Final = {
    "bench.engine_tasks": ("cache", "fetch-only", "transmute-only", "upload-only", "put-filler"),
    "bench.catalog_tasks": ("warm", "fill-manifest", "fill-store", "look-up", "list"),
    "bench.hydrate_tasks": ("hydrate-fill", "hydrate-pack", "hydrate", "hydrate-many"),
}
TASKS: Final[dict[str, tuple[str, str, bool]]] = {
    "ours": ("bench.worker", "prepare_ours", False),
    "ours-side-by-side": ("bench.worker", "prepare_ours_side_by_side", False),
    "cph": ("bench.worker", "prepare_cph", False),
    "streaming": ("bench.worker", "prepare_streaming", False),
    "limits": ("bench.limits", "prepare", False),
    "resolve": ("bench.resolve_tasks", "prepare", False),
    "make-bucket": ("bench.worker", "prepare_bucket", False),
    "boot-publish": ("bench.bootstrap_tasks", "prepare", False),
    "metaflow-venvs": ("bench.metaflow_tasks", "venvs", False),
    "metaflow-channel": ("bench.metaflow_tasks", "channel", False),
    "start-up-inputs": ("bench.start_up_cases", "inputs", False),
    "nothing": ("bench.worker", "prepare_nothing", False),
    **{name: (module, "prepare", True) for module, names in _MODULES.items() for name in names},
}


def _other_name(file: str, to: str) -> str:
    name = Path(file).name
    return name.removesuffix(".conda").removesuffix(".tar.bz2") + to


def main() -> None:
    """Run one task and write down its figures."""
    task, arguments = sys.argv[1], json.loads(sys.argv[2])
    module, function, named = TASKS[task]
    prepare: Callable[..., Work] = getattr(importlib.import_module(module), function)
    work = prepare(task, **arguments) if named else prepare(**arguments)
    start_cpu, started = cpu_seconds(), time.perf_counter()
    figures = work() or {}
    said = {
        "start_cpu": start_cpu,
        "work_wall": time.perf_counter() - started,
        "work_cpu": cpu_seconds() - start_cpu,
        **figures,
    }
    path = os.environ.get("ASYNCCACHE_BENCH_RESULT")
    if path:
        Path(path).write_text(json.dumps(said), encoding="utf-8")
    else:
        print(json.dumps(said))


if __name__ == "__main__":
    main()
