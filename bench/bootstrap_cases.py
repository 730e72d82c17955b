"""From the command of a node to the first line of a step, in an environment that the node has to make."""

from __future__ import annotations

import json
from typing import Final

from bench.bed import Bed
from bench.case import case
from bench.harness import REPOSITORY, Contender
from bench.hydrate_cases import fill, unpacking
from bench.results import CPU, FETCHED, PEAK, REQUESTS, WALL, CaseResult, Metric

# what a step would run first; prints what the receipt of the bootstrap says
_STEP: Final = (
    "import json, os; r = json.load(open('_asynccache_receipt.json')); "
    "json.dump({'fetched': r['bytes'], 'store_requests': r['requests'], 'made_wall': r['seconds']}, "
    "open(os.environ['ASYNCCACHE_BENCH_RESULT'], 'w'))"
)


@case(
    "bootstrap",
    "Bootstrap of a step on a bare node",
    metrics=(WALL, CPU, PEAK, Metric("made_wall", "of which making the environment", "s"), REQUESTS, FETCHED),
    plotted=("wall",),
)
def bootstrap(bed: Bed, found: CaseResult) -> None:
    """A step's environment on a bare node, from pack and packages.

    The command that a node runs before a step, in a virtual environment with boto3 and nothing else, an empty HOME and
    an S3 store (SeaweedFS on loopback, its data in memory), and then the environment's own Python until its first line
    runs. From packages: the engine's bundle is fetched first, as on a node whose pack is damaged. The limit unpacks one
    zstd archive of what the pack holds, byte code included, with `zstd -d | tar x`, and starts no Python.
    """
    place = bed.s3().named("bootstrap")
    with bed.directory() as directory:
        filled = fill(bed, place, directory)
        settings, document = place.settings(cache_dir=str(directory / "filling")), str(directory / "env.json")
        sizes = bed.run_once("bootstrap_tasks.publish", place, settings=settings, document=document, out=str(directory))
        node = json.loads((directory / "node.json").read_text("utf-8"))

        def booted(name: str, manifest: str, home: str = "{scratch}") -> Contender:
            words = (
                f"cd {{scratch}}/work && export HOME={home} PYTHONPATH={REPOSITORY} XDG_CACHE_HOME={home}/cache "
                f'&& "$0" -m asynccache.boot {directory / manifest} {node["ids"]} && ./__conda_python -I -c "$1"'
            )
            variables = {**place.environment, "METAFLOW_S3_ENDPOINT_URL": str(place.endpoint)}
            command = ["sh", "-c", words, node["python"], _STEP]
            return Contender(name, command, variables, prepare=lambda run: (run / "work").mkdir())

        (directory / "ready").mkdir()
        warm = booted("environment is there", "packed.json", str(directory / "ready"))
        bed.measure(warm, rounds=1)
        limit, packed, _packages, _there = series = bed.measure(
            unpacking("limit: zstd -d | tar x", directory / "packed.tar.zst"),
            booted("from its pack", "packed.json"),
            booted("from packages", "packages.json"),
            warm,
        )
    found.group(
        f"{filled['files']:.0f} files, {filled['bytes'] / 1e6:.0f} MB unpacked; pack {sizes['pack'] / 1e6:.0f} MB, "
        f"bundle {sizes['bundle'] / 1e6:.0f} MB",
        series,
        compared=False,
    )
    made = packed.median("made_wall") / limit.median("wall")
    found.at_most("making it from its pack, by the limit", 1.4, made, "x")
    found.at_most("requests to S3 of a packed environment", 12, packed.median("store_requests"), "")
    found.notes.append("Metaflow's own bootstrap is not measured: it needs micromamba, and none was found.")
