"""What commands cost that have little to do: showing help, looking, resolving what is known, linking what is here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.bed import Bed
from bench.harness import Contender, run_process
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Target

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


def start_up(bed: Bed) -> CaseResult:
    """Commands whose work is next to nothing, by the least that a program of the same kind costs."""
    result = CaseResult(
        "start-up",
        "Starting",
        "Each command as a process with byte code present; everything it needs is on this machine. Compared are: an "
        "empty group of click with its help; an event loop that does nothing; Python alone; py-rattler linking the "
        "same extracted packages.",
        metrics=(CPU, WALL, PEAK),
    )
    with bed.directory() as directory:
        environment = _settings(directory)

        def ours(*words: str) -> Callable[[Path], Sequence[str]]:
            program = [sys.executable, "-c", "from asynccache_cli.main import main; main()"]
            return lambda run: [*program, *(word.replace("{run}", str(run)) for word in words)]

        def python(code: str, *words: str) -> Callable[[Path], Sequence[str]]:
            return lambda run: [sys.executable, "-c", code, *(word.replace("{run}", str(run)) for word in words)]

        asked = ("resolve", str(directory / "environment.yml"), "--python", "3.11.*", "--arch", "linux-64", "--quiet")
        bed.run_once("start-up-inputs", out=str(directory), quick=bed.quick)
        for words in (
            (*asked, "--alias", _RESOLVED),
            ("env", "import", str(directory / "packages.txt"), "--alias", _ENVIRONMENT),
            ("create", _ENVIRONMENT, "--prefix", str(directory / "first")),
        ):
            run_process(ours(*words)(directory), directory, environment)
        packages = str(directory / "node" / "pkgs")

        def measured(label: str, *contenders: tuple[str, Callable[[Path], Sequence[str]]]) -> Group:
            known = [Contender(name, command, environment) for name, command in contenders]
            bed.measure(known, rounds=1)  # byte code is written, files are in memory
            group = Group(label, bed.measure(known))
            result.groups.append(group)
            return group

        shown = measured(
            "help", ("empty click group", python(_CLICK, "--help")), ("asynccache --help", ours("--help")),
            ("asynccache ls --help", ours("ls", "--help")),
        )  # fmt: skip
        looked = measured(
            "looking",
            ("Python alone", python("pass")),
            ("click and an event loop", python(_ASYNCIO)),
            ("ls of the empty store", ours("ls", "--cache-dir", str(directory / "never"))),
            ("resolve, known", ours(*asked)),
        )
        linked = measured(
            "making an environment of extracted packages",
            ("py-rattler", python(_LINK, packages, "{run}/env")),
            ("asynccache create", ours("create", _ENVIRONMENT, "--prefix", "{run}/env")),
        )
        count = len(list(Path(packages).glob("*/info")))
    by_click, by_python = shown.ratios("cpu"), looked.ratios("cpu")
    result.targets = [
        Target("--help, by an empty click group, CPU", 1.1, by_click["asynccache --help"].value, False, "x"),
        Target("a known environment, by Python alone, CPU", 5.0, by_python["resolve, known"].value, False, "x"),
        Target(
            f"create of {count} extracted packages, by py-rattler, CPU", 1.4,
            linked.ratios("cpu")["asynccache create"].value, False, "x",
        ),
    ]  # fmt: skip
    return result


def _settings(directory: Path) -> dict[str, str]:
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


def inputs(out: str, *, quick: bool) -> Callable[[], dict[str, float]]:
    """Return the work: write a channel that can be solved, a file that asks for it, and a list of real packages."""

    def work() -> dict[str, float]:
        from asynccache.model.digest import digest_file  # noqa: PLC0415 - only where it is asked for
        from tests.support.channel import cached_channel  # noqa: PLC0415
        from tests.support.tiny_channel import write_tiny_channel  # noqa: PLC0415

        directory = Path(out)
        write_tiny_channel(directory / "channel")
        (directory / "environment.yml").write_text("dependencies:\n  - app\n")
        paths = [p.path for p in cached_channel("small" if quick else "full").one_format()]
        lines = [
            f"{path.as_uri()}#{digest_file(str(path), 'md5').md5}" for path in paths if "feature-" not in path.name
        ]
        (directory / "packages.txt").write_text("\n".join(["@EXPLICIT", *lines]))
        return {}

    return work
