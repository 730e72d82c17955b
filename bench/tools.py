"""The tools that transmute, each given the same files, and what needs no room of its own."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from bench.task import Figures, Work


def ours(files: Sequence[str], out: str, *, threads: int = 1, verify: bool = True, to: str) -> Work:
    """Transmute one file after another with asynccache's archive room, as one package of the engine does."""
    from asynccache.archive import transmute  # noqa: PLC0415

    names = [Path(file).name.removesuffix(".conda").removesuffix(".tar.bz2") + to for file in files]

    def work() -> None:
        for file, name in zip(files, names, strict=True):
            transmute(Path(file), Path(out, name), level=3, verify=verify, threads=threads)

    return work


def ours_side_by_side(files: Sequence[str], out: str, *, cores: int, to: str) -> Work:
    """Transmute several files at once with what `asynccache transmute` calls, on so many cores and no others."""
    from asynccache.api import Session, Settings  # noqa: PLC0415
    from asynccache.ops import transmute_files  # noqa: F401, PLC0415 - imports are not measured

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    async def transmute() -> None:
        async with Session(Settings(zstd_level=3, verify_transmute=True, cpu_slots=cores)) as session:
            (await session.transmute(*files, to=to, out=out)).raise_for_failures()

    return lambda: asyncio.run(transmute())


def cph(files: Sequence[str], out: str, *, to: str) -> Work:
    """Transmute one file after another as `cph transmute` does with one process: it verifies by reading both again."""
    api = importlib.import_module("conda_package_handling.api")

    def work() -> None:
        for file in files:
            failed = api.transmute(file, to, out_folder=out, processes=1, zstd_compress_level=3)
            if failed:
                raise RuntimeError(str(failed))

    return work


def streaming(files: Sequence[str], out: str, *, to: str) -> Work:
    """Transmute with conda-package-streaming, which does not verify."""
    transmute = importlib.import_module("conda_package_streaming.transmute")

    def work() -> None:
        for file in files:
            if to == ".conda":
                transmute.transmute(file, out, compression_level=3)
            else:
                transmute.transmute_tar_bz2(file, out)

    return work


def rattler_solve(channel: str, cache: str, specs: Sequence[str]) -> Work:
    """Solve with py-rattler alone, its index kept in a directory."""
    rattler = importlib.import_module("rattler")
    parts = importlib.import_module("rattler.package")
    virtual = [("__unix", "0"), ("__linux", "6.1"), ("__glibc", "2.28"), ("__archspec", "1")]

    async def solve() -> Figures:
        records = await rattler.solve(
            sources=[rattler.Channel(channel)],
            specs=[rattler.MatchSpec(spec, strict=True) for spec in specs],
            gateway=rattler.Gateway(cache_dir=cache),
            platforms=["linux-64", "noarch"],
            virtual_packages=[
                rattler.GenericVirtualPackage(
                    parts.PackageName(name), rattler.Version(version), parts.BuildString("x86_64")
                )
                for name, version in virtual
            ],
        )
        return {"packages": len(records)}

    return lambda: asyncio.run(solve())


def nothing() -> None:
    """Do nothing at all: what the interpreter's start costs."""
