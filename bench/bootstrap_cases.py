"""From the command of a node to the first line of a step, in an environment that the node has to make."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.bed import Bed
from bench.cache_cases import REQUESTS, settings_for
from bench.harness import REPOSITORY, Contender
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Metric, Target

FETCHED = Metric("fetched", "bytes fetched", "MB")
MADE = Metric("made_wall", "of which making the environment", "s")
_LIMIT = "zstd -d | tar x"
# what a step would run first; tells what the receipt of the bootstrap says
_STEP = (
    "import json, os; r = json.load(open('_asynccache_receipt.json')); "
    "json.dump({'fetched': r['bytes'], 'store_requests': r['requests'], 'made_wall': r['seconds']}, "
    "open(os.environ['ASYNCCACHE_BENCH_RESULT'], 'w'))"
)


def bootstrap(bed: Bed) -> CaseResult:
    """Make an environment on a bare node: from its pack, from packages, and not at all since it is there."""
    result = CaseResult(
        "bootstrap",
        "Bootstrap of a step on a bare node",
        "The command that a node runs before a step, in a virtual environment with boto3 and nothing else, an empty "
        "HOME and an S3 store (SeaweedFS on loopback, its data in memory), and then the environment's own Python until "
        "its first line runs. From packages: the engine's bundle is fetched first, as on a node whose pack is damaged. "
        f"The limit unpacks one zstd archive of what the pack holds, byte code included, with `{_LIMIT}`, and starts "
        "no Python.",
        metrics=(WALL, CPU, PEAK, MADE, REQUESTS, FETCHED),
        plotted=("wall",),
    )
    place = bed.s3()
    root = place.root.replace("{run}", "bootstrap")
    with bed.directory() as directory:
        settings = {**settings_for(place, root=root), "cache_dir": str(directory / "filling")}
        filled = bed.run_once("hydrate-fill", place, settings=settings, out=str(directory), quick=bed.quick)
        document = str(directory / "env.json")
        sizes = bed.run_once("boot-publish", place, settings=settings, document=document, out=str(directory))
        node = json.loads((directory / "node.json").read_text("utf-8"))

        def boot(manifest: str, shared: Path | None = None) -> Callable[[Path], Sequence[str]]:
            def command(run: Path) -> Sequence[str]:
                home = shared or run
                (run / "work").mkdir()
                words = (
                    f"cd {run / 'work'} && export HOME={home} PYTHONPATH={REPOSITORY} XDG_CACHE_HOME={home / 'cache'} "
                    f'&& "$0" -m asynccache.boot {directory / manifest} {node["ids"]} && ./__conda_python -I -c "$1"'
                )
                return ["sh", "-c", words, node["python"], _STEP]

            return command

        ready = directory / "ready"
        ready.mkdir()
        variables = {**place.environment, "METAFLOW_S3_ENDPOINT_URL": str(place.endpoint)}
        warm = Contender("environment is there", boot("packed.json", ready), variables)
        bed.measure([warm], rounds=1)
        series = bed.measure(
            [
                Contender("limit: " + _LIMIT, lambda run: _unpack(directory, run)),
                Contender("from its pack", boot("packed.json"), variables),
                Contender("from packages", boot("packages.json"), variables),
                warm,
            ]
        )
    limit, packed, _packages, _there = series
    label = (
        f"{filled['files']:.0f} files, {filled['bytes'] / 1e6:.0f} MB unpacked; pack {sizes['pack'] / 1e6:.0f} MB, "
        f"bundle {sizes['bundle'] / 1e6:.0f} MB"
    )
    result.groups.append(Group(label, series, compared=False))
    result.targets = [
        Target(
            "making it from its pack, by the limit", 1.4, packed.median("made_wall") / limit.median("wall"), False, "x"
        ),
        Target("requests to S3 of a packed environment", 12, packed.median("store_requests"), False, ""),
    ]
    result.notes.append("Metaflow's own bootstrap is not measured: it needs micromamba, and none was found.")
    return result


def _unpack(directory: Path, run: Path) -> list[str]:
    (run / "env").mkdir()
    return ["sh", "-c", f"zstd -q -d -c {directory / 'packed.tar.zst'} | tar -C {run / 'env'} -xf -"]
