"""Whole runs of the engine: against their slowest stage alone, and on a store that has everything already."""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.bed import LATENCY, Bed, Place, Server, cpu_meter
from bench.harness import Contender, Series, worker
from bench.input_files import MIB
from bench.inputs import Archive, of_format
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Limit, Metric, Target

WHOLE = "whole run"
STAGES = ("fetched only", "transmuted only", "uploaded only")
_TASKS = ("fetch-only", "transmute-only", "upload-only")
RUN = Metric("run_wall", "wall seconds without start-up", "s")
SERVERS = Metric("servers_cpu", "CPU seconds of the servers", "s")
REQUESTS = Metric("store_requests", "requests to the store", "")


def _overlap(bed: Bed, result: CaseResult, place: Place, *options: str) -> CaseResult:
    """Measure a whole run and each of its stages alone, in turn."""
    archives = bed.inputs("channel")
    with bed.directory() as directory, bed.channel(archives, *options) as channel:
        contenders = _stages(bed, archives, channel, place, directory)
        pids = {"channel": channel.pid} | ({"store": place.pid} if place.pid else {})
        meter = cpu_meter(pids)
        series = bed.measure(contenders, meter=lambda: {"servers_cpu": sum(meter().values())})
    packed = sum(a.size for a in archives)
    unpacked = sum(a.unpacked for a in of_format(archives, ".tar.bz2"))
    label = f"{len(archives)} packages, {packed / 1e6:.0f} MB, of which {unpacked / 1e6:.0f} MB unpacked to transmute"
    slowest = max(series[1:], key=lambda s: s.median("run_wall"))
    bound = slowest.median("run_wall")
    limit = Limit("run_wall", 1.2 * bound, "1.2 x the slowest stage")
    result.groups.append(Group(label, series, (limit,), compared=False))
    result.targets.append(_overlap_target(series, slowest.name))
    alone = sum(s.median("run_wall") for s in series[1:])
    whole, cores = series[0], os.cpu_count() or 1
    # decoders run in processes of their own, which only the whole's CPU time has; start-up is one thread's
    used = whole.median("cpu") - (whole.median("wall") - whole.median("run_wall"))
    busy = (used + whole.median("servers_cpu")) / cores
    result.notes.append(
        f"The three stages one after the other would take {alone:.2f} s, the whole run takes "
        f"{whole.median('run_wall'):.2f} s."
    )
    result.notes.append(
        f"Client and servers share {cores} cores: the run and its servers together use "
        f"{used:.2f} + {whole.median('servers_cpu'):.2f} CPU seconds, so that no order of the work "
        f"could take less than {busy:.2f} s here."
    )
    return result


def _overlap_target(series: Sequence[Series], slowest: str) -> Target:
    per_round = [
        whole / max(stages)
        for whole, *stages in zip(*(s.values("run_wall") for s in series), strict=True)
    ]  # fmt: skip
    return Target(
        "overlap: wall time of the whole run by that of its slowest stage alone",
        1.2,
        statistics.median(per_round),
        False,
        "x",
        f"slowest: {slowest}; rounds {min(per_round):.2f}-{max(per_round):.2f}",
    )


def _stages(bed: Bed, archives: Sequence[Archive], channel: Server, place: Place, directory: Path) -> list[Contender]:
    entries = [{**a.address(channel.url), "path": str(a.path)} for a in archives]
    old = [str(a.path) for a in of_format(archives, ".tar.bz2")]
    bed.run_once("ours", files=old, out=str(directory), to=".conda", verify=False)
    final = [_derived(e, directory) if str(e["path"]).endswith(".tar.bz2") else e for e in entries]
    lists = [bed.write_list(entries, directory, "published.json"), bed.write_list(final, directory, "final.json")]
    common = {"settings": settings_for(place)}
    contenders = [Contender(WHOLE, worker("cache", packages=lists[0], **common), place.environment)]
    for name, task in zip(STAGES, _TASKS, strict=True):
        packages = lists[task == "upload-only"]
        contenders.append(Contender(name, worker(task, packages=packages, **common), place.environment))
    return contenders


def _derived(entry: Mapping[str, object], directory: Path) -> dict[str, object]:
    path = directory / (Path(str(entry["path"])).name.removesuffix(".tar.bz2") + ".conda")
    with path.open("rb") as file:
        md5, sha256 = (hashlib.file_digest(file, name).hexdigest() for name in ("md5", "sha256") if not file.seek(0))
    url = str(entry["url"]).removesuffix(".tar.bz2") + ".conda"
    return {"url": url, "md5": md5, "sha256": sha256, "size": path.stat().st_size, "path": str(path)}


def settings_for(place: Place, *, root: str | None = None) -> dict[str, object]:
    """Return the settings of a run into a place: a root of its own unless one is named."""
    chosen: dict[str, object] = {"store": root or place.root, "cache_dir": "{scratch}/node"}
    return {**chosen, **({"s3_endpoint_url": place.endpoint} if place.endpoint else {})}


def _about(where: str, more: str = "") -> str:
    return (
        f"Sixty packages, half of them .tar.bz2, from a server {LATENCY * 1000:.0f} ms away (a process of its own on "
        f"loopback) into {where}, all to .conda. Beside the whole run, each stage runs alone with the same budgets: "
        "fetching and verifying everything, transmuting everything, uploading everything. A run that overlaps its "
        f"stages perfectly takes as long as the slowest of them.{more}"
    )


METRICS = (RUN, WALL, CPU, SERVERS, PEAK)


def into_local(bed: Bed) -> CaseResult:
    """Cache a channel into a local store."""
    about = _about("a local store")
    result = CaseResult("cache-local", "60 packages into a local store", about, METRICS, ("run_wall",))
    return _overlap(bed, result, Place("{scratch}/store"))


def into_s3(bed: Bed) -> CaseResult:
    """Cache a channel into an S3 server."""
    about = _about("an S3 server (SeaweedFS on loopback, its data in memory)")
    result = CaseResult("cache-s3", "60 packages into an S3 server", about, METRICS, ("run_wall",))
    return _overlap(bed, result, bed.s3())


def from_slow_source(bed: Bed) -> CaseResult:
    """Cache a channel with a bandwidth so low that fetching is the slowest stage."""
    bandwidth = 1 if bed.quick else 8
    more = f" Here the server sends {bandwidth} MiB a second in all, so that fetching is the slowest stage."
    about = _about("an S3 server", more)
    result = CaseResult("cache-slow-source", "60 packages from a slow source", about, METRICS, ("run_wall",))
    return _overlap(bed, result, bed.s3(), "--bandwidth", str(bandwidth * MIB))


def no_op(bed: Bed) -> CaseResult:
    """A run that finds everything in the store."""
    result = CaseResult(
        "no-op",
        "A run with nothing to do",
        "300 packages are in an S3 store already, in .conda format, and are asked for again: by the command "
        "`asynccache cache`, and by the engine in a process that reports its own figures. The second group has nine "
        "other packages in the store for each one asked for, in the same directories of the channel.",
        metrics=(WALL, RUN, CPU, REQUESTS, PEAK),
        plotted=("wall",),
    )
    archives, place = bed.inputs("many"), bed.s3()
    with bed.directory() as directory, bed.channel(archives) as channel:
        entries = [a.address(channel.url) for a in archives]
        packages = bed.write_list(entries, directory)
        listed = directory / "packages.txt"
        listed.write_text("".join(f"{e['url']}#{e['md5']}\n" for e in entries), encoding="utf-8")
        root = place.root.replace("{run}", "no-op")
        settings = {**settings_for(place, root=root), "cache_dir": str(directory / "node")}
        bed.run_once("cache", place, packages=packages, settings=settings)
        contenders = [
            Contender("the command", lambda _run: _command(listed, directory, root, place), place.environment),
            Contender("the engine", worker("cache", packages=packages, settings=settings), place.environment),
        ]
        for label in ("only these packages in the store", "ten times as many packages in the store"):
            group = Group(f"{len(archives)} packages; {label}", bed.measure(contenders), compared=False)
            result.groups.append(group)
            result.targets += _no_op_targets(group, len(archives), label)
            if len(result.groups) == 1:
                copies = 1 if bed.quick else 9
                bed.run_once("put-filler", place, packages=packages, settings=settings, copies=copies)
    return result


def _no_op_targets(group: Group, count: int, label: str) -> list[Target]:
    command, engine = group.series
    return [
        Target(f"the run itself, {label}", 1.0, engine.median("run_wall"), False, "s", "wall, without start-up"),
        Target(f"the command, {label}", 1.0, command.median("wall"), False, "s", "wall, start-up included"),
        Target(f"requests, {label}", count / 10, engine.median("store_requests"), False, "", "1 for 10 packages"),
    ]


def _command(listed: Path, directory: Path, root: str, place: Place) -> list[str]:
    program = [sys.executable, "-c", "from asynccache_cli.main import main; main()", "cache", "--from", str(listed)]
    options = ["--format", ".conda", "--store", root, "--cache-dir", str(directory / "node"), "--quiet"]
    return [*program, *options, *(["--s3-endpoint-url", place.endpoint] if place.endpoint else [])]
