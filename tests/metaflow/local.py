"""What tests of local flows share: a channel and an index on this machine, a directory, and a venv with Metaflow."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asynccache.errors import FetchError
from asynccache.model.package import Format
from tests.support.channel_index import write_index
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.flow_channel import flow_channel
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.pypi_index import PyPIIndex, write_distribution
from tests.support.wheels import write_wheel

FLOWS = Path(__file__).parent / "flows"
_SECONDS = 240
_MODULES = (("tabular", "1.4.0"), ("tabular", "1.5.0"), ("arrays", "1.21.5"), ("arrays", "2.0.0"))
_HELPERS = ("pip", "wheel", "tomli", "setuptools", "uv")  # what resolvers of PyPI packages want beside Python
# what Metaflow uses of it when it is imported
_REQUESTS = """
class Session:
    def mount(self, prefix, adapter):
        pass


class adapters:
    @staticmethod
    def HTTPAdapter(**options):
        return None
"""
# runs the code cells of a notebook as a kernel would: in its directory, in one namespace
_KERNEL = """
import json
import sys

with open(sys.argv[sys.argv.index("-f") + 1], encoding="utf-8") as file:
    cells = json.load(file)["cells"]
for cell in cells:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), globals())
"""
START = "from metaflow.cmd.main_cli import start; start(prog_name='metaflow')"


@dataclass(frozen=True, slots=True)
class LocalBed:
    """Where flows run.

    Attributes:
        directory: Working directory, with Metaflow's local datastore.
        python: Interpreter of a venv with Metaflow and asynccache.
        variables: All environment variables.
    """

    directory: Path
    python: Path
    variables: dict[str, str]

    def run(self, *words: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the venv's Python; standard error is with standard output."""
        return subprocess.run(
            [str(self.python), *words],
            cwd=self.directory,
            env={**self.variables, **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def flow(self, name: str, *words: str, code: int = 0, variables: Mapping[str, str] | None = None) -> str:
        """Run a flow of `flows` with --environment=conda and return what it printed."""
        path = self.directory / name
        shutil.copyfile(FLOWS / name, path)
        done = self.run(str(path), "--environment=conda", "--no-pylint", *words, variables=variables)
        assert done.returncode == code, done.stdout
        return done.stdout

    def metaflow(self, *words: str, code: int = 0) -> str:
        """Run `metaflow` and return what it printed."""
        done = self.run("-c", START, *words)
        assert done.returncode == code, done.stdout
        return done.stdout

    def look(self, expression: str) -> Any:
        """Evaluate an expression on `metaflow.*` and return its value."""
        text = f"import json\nfrom metaflow import *\nnamespace(None)\nprint('VALUE', json.dumps({expression}))"
        done = self.run("-c", text)
        assert done.returncode == 0, done.stdout
        line = next(line for line in done.stdout.splitlines() if line.startswith("VALUE "))
        return json.loads(line.removeprefix("VALUE "))


@contextmanager
def local_bed(directory: Path, *extra: str) -> Iterator[LocalBed]:
    """Make everything; skip the test where it cannot be obtained.

    Args:
        directory: A new one.
        extra: More requirements of the venv.
    """
    try:
        python = launch_venv(*extra) / "bin" / "python"
        channel = flow_channel(("3.9", "3.12")).root
    except (CannotInstallError, LookupError, FetchError) as error:
        pytest.skip(str(error))
    write_channel(directory / "channel", channel)
    wheels = directory / "wheels"
    for version in ("1.4.0", "1.5.0", "1.6rc1"):
        write_distribution(wheels, "frames", version)
    write_wheel(wheels, "requests", "2.31.0", {"requests.py": _REQUESTS.encode()})
    (directory / "work" / ".metaflow").mkdir(parents=True)
    for name in ("home", "tmp"):
        (directory / name).mkdir()
    with PyPIIndex(wheels) as index:
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory / "home"),
            "TMPDIR": str(directory / "tmp"),
            "METAFLOW_USER": "tester",
            "METAFLOW_CLIENT_CACHE_PATH": str(directory / "client"),
            "METAFLOW_CONDA_DEFAULT_PYPI_SOURCE": index.url,
            "ASYNCCACHE_CHANNELS": json.dumps([(directory / "channel").as_uri()]),
            "ASYNCCACHE_CACHE_DIR": str(directory / "cache"),
        }
        yield LocalBed(directory / "work", python, variables)


def write_channel(root: Path, pythons: Path) -> None:
    """Write a channel with the packages of another one, and small projects in several versions."""
    for subdir in ("linux-64", "noarch"):
        (root / subdir).mkdir(parents=True)
        for archive in (pythons / subdir).glob("*"):
            if archive.name.endswith((".conda", ".tar.bz2")):
                _link(archive, root / subdir / archive.name)
    for name, version in _MODULES:
        metadata = Metadata(name=name, version=version, noarch="python", depends=("python",))
        text = f"VERSION = {version!r}\n".encode()
        write_package(root / "noarch", metadata, [Member(f"site-packages/{name}.py", text)], (Format.CONDA,))
    cpu = Metadata(name="accelerated", version="1.0", build="cpu_0", noarch="generic")
    write_package(root / "noarch", cpu, [Member("share/accelerated", b"")], (Format.CONDA,))
    kernel = Metadata(name="ipykernel", version="7.0", noarch="python", depends=("python",))
    launcher = [Member("site-packages/ipykernel_launcher.py", _KERNEL.encode())]
    write_package(root / "noarch", kernel, launcher, (Format.CONDA,))
    present = {path.name.rsplit("-", 2)[0] for path in root.glob("*/*")}
    for name in _HELPERS:
        if name not in present:
            metadata = Metadata(name=name, version="24.0", noarch="generic")
            write_package(root / "noarch", metadata, [Member(f"share/{name}", b"")], (Format.CONDA,))
    write_index(root)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)  # another file system
