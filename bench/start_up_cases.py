"""What commands cost that have little to do: showing help, looking, resolving what is known, linking what is here."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from bench.bed import Bed
from bench.case import case
from bench.harness import Contender, asynccache
from bench.results import CPU, PEAK, WALL, CaseResult, Group

_ENVIRONMENT: Final = "bench/linked:v1"
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


@case("start-up", "Starting", metrics=(CPU, WALL, PEAK))
def start_up(bed: Bed, found: CaseResult) -> None:
    """Commands with little to do, by what any program costs.

    Each command as a process with byte code present; everything it needs is on this machine. Compared are: an empty
    group of click with its help; an event loop that does nothing; Python alone; py-rattler linking the same extracted
    packages.
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
        listed = str(directory / "packages.txt")
        for one in (
            ours("resolve", *asked, "--alias", _RESOLVED),
            ours("import", "env", "import", listed, "--alias", _ENVIRONMENT),
            ours("create", "create", _ENVIRONMENT, "--prefix", str(directory / "first")),
        ):
            one.run(bed.scratch)
        shown = measured(
            "help",
            python("empty click group", _CLICK, "--help"),
            ours("asynccache --help", "--help"),
            ours("asynccache ls --help", "ls", "--help"),
        )
        looked = measured(
            "looking",
            python("Python alone", "pass"),
            python("click and an event loop", _ASYNCIO),
            ours("ls of the empty store", "ls", "--cache-dir", str(directory / "never")),
            ours("resolve, known", *asked),
        )
        packages = directory / "node" / "pkgs"
        linked = measured(
            "making an environment of extracted packages",
            python("py-rattler", _LINK, str(packages), "{scratch}/env"),
            ours("asynccache create", "create", _ENVIRONMENT, "--prefix", "{scratch}/env"),
        )
        count = len(list(packages.glob("*/info")))
    for what, wanted, group, name in (
        ("--help, by an empty click group, CPU", 1.1, shown, "asynccache --help"),
        ("a known environment, by Python alone, CPU", 5.0, looked, "resolve, known"),
        (f"create of {count} extracted packages, by py-rattler, CPU", 1.4, linked, "asynccache create"),
    ):
        found.at_most(what, wanted, group.ratios("cpu")[name].value, "x")


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
