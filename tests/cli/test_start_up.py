"""What each command imports when everything that it needs is on this machine: nothing that it does not use.

What a library brings along is not named: asyncio brings ssl, subprocess and logging; click brings uuid.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from asynccache_cli.commands import COMMANDS
from tests.cli.resolving import Commands, serve
from tests.support.tiny_channel import write_tiny_channel

HEAVY: Final = (
    "asynccache.archive", "asynccache.engine.engine", "asynccache.resolve.conda.rattler_solver",
    "asynccache.store.azure", "asynccache.store.google", "asynccache.store.http_client", "asynccache.store.s3",
    "aiobotocore", "aiofiles",
    "aiohttp", "azure", "backports.zstd", "botocore", "conda_package_handling", "conda_package_streaming",
    "ctypes", "email", "fractions", "google", "http.client", "http.cookies", "importlib.metadata", "indexed_bzip2",
    "inspect", "isal", "multiprocessing", "netrc", "packaging", "random", "rattler", "requests", "rich", "sqlite3",
    "tarfile", "tempfile", "tomllib", "urllib.request", "uvloop", "yaml", "zipfile", "zstandard",
)  # fmt: skip
WATCH: Final = """
import os, sys
heavy, told = frozenset(os.environ["WATCHED"].split()), os.open(os.environ["TOLD"], os.O_WRONLY | os.O_APPEND)
class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in heavy:
            os.write(told, name.encode() + b"\\n")
        elif name == "asyncio.base_events":  # its parent may be there and not be loaded
            os.write(told, b"asyncio\\n")
sys.meta_path.insert(0, Watch)
from asynccache_cli.main import main
main()
"""
HELPS: Final = [("--help",), ("--version",), *((name, "--help") for name in COMMANDS)]
ENVIRONMENT: Final = "team/tiny:v1"
# command -> what it imports, in this order: everything is on this machine, and was looked at before
WARM: Final = {
    "config": "",
    "ls": "asyncio",
    "stat": "asyncio",
    "env ls": "asyncio sqlite3",
    f"env show {ENVIRONMENT}": "asyncio sqlite3",
    f"env get {ENVIRONMENT}": "asyncio sqlite3",
    f"env export {ENVIRONMENT}": "asyncio sqlite3",
    f"env diff {ENVIRONMENT} {ENVIRONMENT}": "asyncio sqlite3",
    "resolve environment.yml --python 3.11.* --arch linux-64": "sqlite3",
    f"create {ENVIRONMENT}": "sqlite3",
    f"run {ENVIRONMENT} -- true": "sqlite3",
    f"shell {ENVIRONMENT}": "sqlite3",
    "envs": "asyncio sqlite3",
    f"warm --to local --env {ENVIRONMENT}": "asyncio asynccache.engine.engine inspect random sqlite3 tempfile uvloop",
    "transmute channel/noarch/extra-0.3-py_0.tar.bz2 --to .conda --out made": (
        "asynccache.archive backports.zstd random tempfile zipfile zstandard"
    ),
    f"rm {ENVIRONMENT}": "asyncio random sqlite3 tempfile",
}
EMPTY: Final = {"ls": "asyncio", "stat": "asyncio", "env ls": "asyncio sqlite3"}


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A directory whose store has an environment, which was made, warmed and packed; and an empty store."""
    root = tmp_path_factory.mktemp("start-up")
    with serve(write_tiny_channel(root / "channel")) as address:
        run = Commands(root, address)
        (root / "environment.yml").write_text("dependencies:\n  - app\n")
        run("resolve", "environment.yml", "--python", "3.11.*", "--arch", "linux-64", "--alias", ENVIRONMENT)
        run("create", ENVIRONMENT)
        run("warm", "--to", "local", "--env", ENVIRONMENT)
        yield run


def imported(run: Commands, *words: str, **more: str) -> set[str]:
    """Return the heavy modules that a command imports."""
    told = run.directory / "told"
    told.write_text("")
    watched = {"WATCHED": " ".join(HEAVY), "TOLD": str(told), "SHELL": "/bin/true"}
    environment = run.environment(**watched, **(more or {"ASYNCCACHE_STORE": run.store}))
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *words],
        capture_output=True, text=True, check=False, cwd=run.directory, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return set(told.read_text().split())


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_imports_nothing_but_the_command_line(warm: Commands, words: tuple[str, ...]) -> None:
    # click takes the indentation off help of several lines
    assert imported(warm, *words) <= ({"inspect"} if "--help" in words else set())


@pytest.mark.parametrize("words", WARM)
def test_what_is_here_needs_no_client_codec_solver_or_http_library(warm: Commands, words: str) -> None:
    assert imported(warm, *words.split()) == set(WARM[words].split())


def test_a_solve_without_markers_needs_the_solver_and_no_reader_of_versions(warm: Commands) -> None:
    words = "resolve environment.yml --python 3.11.* --arch linux-64 --dry-run --force"
    solver = {"asynccache.resolve.conda.rattler_solver", "rattler", "asyncio", "inspect"}
    assert imported(warm, *words.split()) == {*solver, "netrc", "sqlite3"}


@pytest.mark.parametrize("words", EMPTY)
def test_the_empty_store_of_this_machine_is_looked_at_with_as_little(warm: Commands, words: str) -> None:
    never = str(warm.directory / "never")
    assert imported(warm, *words.split(), ASYNCCACHE_CACHE_DIR=never) == set(EMPTY[words].split())
