"""What runs in a contender's process: one task, on packages that are there, with as little around it as possible.

    python -m bench.worker TASK '{"argument": ...}'

Imports come first; then the clocks are read and the work begins. The figures go to the file that
`ASYNCCACHE_BENCH_RESULT` names.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

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
    from asynccache.model.package import Format  # noqa: PLC0415
    from asynccache.ops.transmute_files import Conversion, transmute_files  # noqa: PLC0415

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    def done(conversion: Conversion) -> None:
        if conversion.error is not None:
            raise conversion.error

    def work() -> None:
        sources = [Path(file) for file in files]
        asyncio.run(transmute_files(sources, Format(to), out=Path(out), level=3, verify=True, cores=cores, done=done))

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


def prepare_engine_task(name: str, **arguments: Any) -> Work:
    """Find one of the tasks of `bench.engine_tasks`."""
    from bench import engine_tasks  # noqa: PLC0415

    return engine_tasks.prepare(name, **arguments)


def prepare_catalog_task(name: str, **arguments: Any) -> Work:
    """Find one of the tasks of `bench.catalog_tasks`."""
    from bench import catalog_tasks  # noqa: PLC0415

    return catalog_tasks.prepare(name, **arguments)


def prepare_resolve(**arguments: Any) -> Work:
    """Solve requests (see `bench.resolve_tasks`)."""
    from bench import resolve_tasks  # noqa: PLC0415

    return resolve_tasks.prepare(**arguments)


def prepare_hydrate_task(name: str, **arguments: Any) -> Work:
    """Find one of the tasks of `bench.hydrate_tasks`."""
    from bench import hydrate_tasks  # noqa: PLC0415

    return hydrate_tasks.prepare(name, **arguments)


def prepare_boot_publish(**arguments: Any) -> Work:
    """Publish what a bare node needs (see `bench.bootstrap_tasks`)."""
    from bench import bootstrap_tasks  # noqa: PLC0415

    return bootstrap_tasks.prepare(**arguments)


def prepare_metaflow_venvs(**arguments: Any) -> Work:
    """Make virtual environments with Metaflow (see `bench.metaflow_tasks`)."""
    from bench import metaflow_tasks  # noqa: PLC0415

    return metaflow_tasks.venvs(**arguments)


def prepare_metaflow_channel(**arguments: Any) -> Work:
    """Write a channel that flows get a Python from (see `bench.metaflow_tasks`)."""
    from bench import metaflow_tasks  # noqa: PLC0415

    return metaflow_tasks.channel(**arguments)


def prepare_limits(sample: str, size: int) -> Work:
    """Measure the machine's raw speeds (see `bench.limits`)."""
    from bench import limits  # noqa: PLC0415

    return limits.prepare(sample, size)


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


TASKS: Final[dict[str, Callable[..., Work]]] = {
    "ours": prepare_ours,
    "ours-side-by-side": prepare_ours_side_by_side,
    "cph": prepare_cph,
    "streaming": prepare_streaming,
    "limits": prepare_limits,
    "resolve": prepare_resolve,
    "make-bucket": prepare_bucket,
    "boot-publish": prepare_boot_publish,
    "metaflow-venvs": prepare_metaflow_venvs,
    "metaflow-channel": prepare_metaflow_channel,
    "nothing": prepare_nothing,
    **{
        name: functools.partial(prepare_engine_task, name)
        for name in ("cache", "fetch-only", "transmute-only", "upload-only", "put-filler")
    },
    **{
        name: functools.partial(prepare_catalog_task, name)
        for name in ("warm", "fill-manifest", "fill-store", "look-up", "list")
    },
    **{
        name: functools.partial(prepare_hydrate_task, name)
        for name in ("hydrate-fill", "hydrate-pack", "hydrate", "hydrate-many")
    },
}


def _other_name(file: str, to: str) -> str:
    name = Path(file).name
    return name.removesuffix(".conda").removesuffix(".tar.bz2") + to


def main() -> None:
    """Run one task and write down its figures."""
    task, arguments = sys.argv[1], json.loads(sys.argv[2])
    work = TASKS[task](**arguments)
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
