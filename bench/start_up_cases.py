"""What commands cost that have little to do: showing help, looking, resolving what is known, linking what is here,
converting one small package, solving on an index that was read before.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from bench.bed import Bed
from bench.case import case
from bench.harness import Contender, ContenderError, asynccache
from bench.resolve_cases import SAMPLED, index_served
from bench.results import CPU, PEAK, WALL, CaseResult, Group

_ENVIRONMENT: Final = "bench/linked:v1"
_SEVERAL: Final = 10
_RESOLVED: Final = "bench/known:v1"
_CLICK: Final = "import click\n@click.group()\ndef group(): pass\n@group.command()\ndef one(): pass\ngroup()"
_ASYNCIO: Final = "import asyncio, click\nasync def main(): pass\nasyncio.run(main())"
_LINK: Final = """
import asyncio, pathlib, sys
from rattler import PackageRecord, RepoDataRecord, install
from rattler.networking import Client
from rattler.package_cache import PackageCache, ValidationMode
packages, prefix = map(pathlib.Path, sys.argv[1:])
def record(path):
    index = PackageRecord.from_index_json(path / "info" / "index.json")
    name = path.name + ".conda"
    return RepoDataRecord(index, name, f"https://bench.invalid/channel/noarch/{name}", "https://bench.invalid/channel/")
asyncio.run(
    install(
        [record(path) for path in packages.iterdir() if (path / "info").is_dir()],
        prefix,
        package_cache=PackageCache.new_layered([packages], validation_mode=ValidationMode.skip()),
        installed_packages=[],
        execute_link_scripts=False,
        show_progress=False,
        client=Client(),
    )
)
"""


_SOLVED: Final = "scikit-learn"  # with Python 3.12 some 38 packages
_SOLVE: Final = """
import asyncio, pathlib, sys
from rattler import Channel, Gateway, GenericVirtualPackage, PackageName, Version, solve
from rattler.package import BuildString
async def main():
    await solve(
        sources=[Channel(sys.argv[2])],
        specs=["python 3.12.*", sys.argv[3]],
        gateway=Gateway(cache_dir=pathlib.Path(sys.argv[1])),
        platforms=["linux-64", "noarch"],
        virtual_packages=[GenericVirtualPackage(PackageName("__glibc"), Version("2.28"), BuildString("0"))],
    )
asyncio.run(main())
"""


@case("start-up", "Starting", metrics=(CPU, WALL, PEAK))
def start_up(bed: Bed, found: CaseResult) -> None:
    """Commands with little to do, by what any program costs.

    Each command as a process with byte code present; everything it needs is on this machine. Compared are: an empty
    group of click with its help; an event loop that does nothing; Python alone; py-rattler linking the same extracted
    packages, and solving the same on the same index. Targets are ratios to Python alone, which is in each group.
    """
    with bed.directory() as directory:
        variables = _variables(directory)
        bed.run_once("start_up_tasks.inputs", out=str(directory), quick=bed.quick)

        def ours(name: str, *words: str) -> Contender:
            return Contender(name, asynccache(*words), variables)

        def python(name: str, code: str, *words: str) -> Contender:
            return Contender(name, [sys.executable, "-c", code, *words], variables)

        def measured(label: str, *contenders: Contender) -> Group:
            bed.measure(*contenders, rounds=1)  # byte code is written, files are in memory
            return found.group(label, bed.measure(*contenders))

        asked = ("resolve", str(directory / "environment.yml"), "--python", "3.11.*", "--arch", "linux-64", "--quiet")
        packages_listed = str(directory / "packages.txt")
        for one in (
            ours("resolve", *asked, "--alias", _RESOLVED),
            ours("import", "env", "import", packages_listed, "--alias", _ENVIRONMENT),
            ours("create", "create", _ENVIRONMENT, "--prefix", str(directory / "first")),
        ):
            one.run(bed.scratch)
        alone = python("Python alone", "pass")
        shown = measured(
            "help",
            python("empty click group", _CLICK, "--help"),
            ours("asynccache --help", "--help"),
            ours("asynccache ls --help", "ls", "--help"),
        )
        looked = measured(
            "looking",
            alone,
            python("click and an event loop", _ASYNCIO),
            ours("ls of the empty store", "ls", "--cache-dir", str(directory / "never")),
            ours("resolve, known", *asked),
            ours("create, there already", "create", _ENVIRONMENT, "--prefix", str(directory / "first")),
        )
        small = next(directory.glob("*.tar.bz2"))
        converted = measured(
            f"one package of {small.stat().st_size / 1000:.0f} kB",
            alone,
            ours("transmute", "transmute", str(small), "--to", ".conda", "--out", "{scratch}"),
        )
        packages = directory / "node" / "pkgs"
        linked = measured(
            "making an environment of extracted packages",
            python("py-rattler", _LINK, str(packages), "{scratch}/env"),
            ours("asynccache create", "create", _ENVIRONMENT, "--prefix", "{scratch}/env"),
            alone,
        )
        several = [f"{_ENVIRONMENT}-{number}" for number in range(_SEVERAL)]
        for name in several:
            ours("alias", "env", "alias", _ENVIRONMENT, name).run(bed.scratch)

        def calls(prefix: str) -> Contender:
            lines = [
                shlex.join(asynccache("create", name, "--prefix", f"{prefix}/{number}"))
                for number, name in enumerate(several)
            ]
            return Contender("as many calls", ["sh", "-e", "-c", "\n".join(lines)], variables)

        calls(str(directory / "several")).run(bed.scratch)
        listed = "".join(f"{name} {number}\n" for number, name in enumerate(several))

        def one_call(prefix: str) -> Contender:
            words = shlex.join(asynccache("create", "-", "--into", prefix))
            return Contender("one call", ["sh", "-c", f"printf %s {shlex.quote(listed)} | {words}"], variables)

        there = measured(
            f"{_SEVERAL} environments that are there",
            *(way(str(directory / "several")) for way in (calls, one_call)),
        )
        made = measured(
            f"{_SEVERAL} environments of extracted packages", *(way("{scratch}/several") for way in (calls, one_call))
        )
        solved = _solving(bed, directory, variables, found)
        count = len(list(packages.glob("*/info")))
        rattler, created, _alone = linked.series
        found.beside(f"create of {count} packages, extracted on the node", created, rattler)
    for what, group in ((f"{_SEVERAL} environments that are there", there), (f"{_SEVERAL} created", made)):
        many, once = (series.median("cpu") for series in group.series)
        found.at_most(f"{what} in one call, by as many calls, CPU", 0.5, once / many, "x")
    for what, wanted, group, name in (
        ("--help, by an empty click group, CPU", 1.1, shown, "asynccache --help"),
        ("a known environment, by Python alone, CPU", 4.0, looked, "resolve, known"),
        ("an environment that is there, by Python alone, CPU", 4.0, looked, "create, there already"),
        ("one small package converted, by Python alone, CPU", 4.0, converted, "transmute"),
        (f"create of {count} extracted packages, by py-rattler, CPU", 1.4, linked, "asynccache create"),
    ):
        found.at_most(what, wanted, group.ratios("cpu")[name].value, "x")
    beside_python = [(f"create of {count} extracted packages", 12.5, linked, "asynccache create")]
    if solved is not None:
        beside_python.append(("a solve on a warm index", 6.5, solved, "asynccache resolve"))
    for what, wanted, group, name in beside_python:
        cpu = {each.name: each.median("cpu") for each in group.series}
        found.at_most(f"{what}, by Python alone, CPU", wanted, cpu[name] / cpu[alone.name], "x")


def _solving(bed: Bed, directory: Path, variables: dict[str, str], found: CaseResult) -> Group | None:
    """Measure a solve; None if there is no index of a real channel."""
    try:
        with index_served(bed) as (url, _size):
            channel = f"{url}/{SAMPLED}"
            there = {
                **variables,
                "ASYNCCACHE_CHANNELS": json.dumps([channel]),
                "ASYNCCACHE_PIN_VIRTUAL_PACKAGES": "true",
                "ASYNCCACHE_SYS_DEFAULT_PACKAGES": json.dumps({"linux-64": {"__glibc": "2.28"}}),
            }
            asked = directory / "solved.yml"
            asked.write_text(f"dependencies:\n  - {_SOLVED}\n")
            # a dry run keeps nothing, so each one solves; `--force` would fetch the index again
            words = ("resolve", str(asked), "--python", "3.12.*", "--arch", "linux-64", "--dry-run")
            contenders = (
                Contender("py-rattler", [sys.executable, "-c", _SOLVE, str(directory / "index"), channel, _SOLVED]),
                Contender("asynccache resolve", asynccache(*words, "--quiet"), there),
                Contender("Python alone", [sys.executable, "-c", "pass"], there),
            )
            bed.measure(*contenders, rounds=1)  # reads the index
            rattler, ours, python = bed.measure(*contenders)
            found.beside("a solve, warm index", ours, rattler)
            return found.group("a solve, warm index", [rattler, ours, python])
    except ContenderError as error:
        found.notes.append(f"No solve was measured: {error}.")
        return None


def _variables(directory: Path) -> dict[str, str]:
    return {
        "PYTHONDONTWRITEBYTECODE": "",
        "HOME": str(directory),
        "METAFLOW_USER": "bench",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(directory),
        "ASYNCCACHE_CACHE_DIR": str(directory / "node"),
        "ASYNCCACHE_CHANNELS": json.dumps([(directory / "channel").as_uri()]),
        "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
        "CONDA_OVERRIDE_GLIBC": os.environ.get("CONDA_OVERRIDE_GLIBC", "2.28"),
    }
