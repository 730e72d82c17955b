"""What tests of `@huggingface` share: a hub on this machine, and an interpreter with Metaflow and huggingface_hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.model_hub import ModelHub
from tests.support.testdata import REPOSITORY

TOKEN = "hf_nobodyMaySeeThis"
OLD = {"config.json": b'{"old": true}', "weights.bin": bytes(range(256)) * 40}
NEW = {"config.json": b'{"new": true}', "deep/er/weights.bin": bytes(range(255, -1, -1)) * 40}
SECONDS = 120
SNAPSHOT = """
import os
from asynccache.metaflow.huggingface.models import Model
from asynccache.metaflow.huggingface.snapshots import Hub
try:
    value = Hub(os.environ["HUB"], os.environ.get("TOKEN"), int(os.environ.get("LIMIT", "60"))).snapshot(
        Model("team/tiny", os.environ.get("REVISION", "main")), os.environ["PARENT"])
except Exception as error:
    value = [type(error).__name__, str(error)]
"""
DECORATE = """
from metaflow import current
from asynccache.metaflow.huggingface.decorator import HuggingFaceDecorator
decorator = HuggingFaceDecorator({"models": {"tiny": "team/tiny"}})
try:
    decorator.step_init(None, None, "start", None, None, None, None)
    decorator.task_decorate(print, None, None, 0, 0, None)
    value = None
except Exception as error:
    import traceback
    value = [type(error).__mro__[1].__name__, str(error), traceback.format_exc()]
"""
PROVIDER_MODULE = f"""
class Good:
    TYPE = "good"
    def get_token(self):
        return "  {TOKEN}\\n"

class Public(Good):
    def get_token(self):
        return None

class Failing(Good):
    def get_token(self):
        raise ValueError("cannot refresh {TOKEN}")

class Odd(Good):
    def get_token(self):
        return "two words {TOKEN}"

class Nameless:
    def get_token(self):
        return "{TOKEN}"

class Mute:
    TYPE = "mute"

instance = Good()
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """Where code runs that needs Metaflow: an interpreter, copied sources, a directory, the hub."""

    python: Path
    sources: Path
    directory: Path
    hub: ModelHub

    def variables(self, **more: str) -> dict[str, str]:
        """Return all environment variables, METAFLOW_HUGGINGFACE_ENDPOINT among them."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "PYTHONPATH": f"{self.sources}:{self.directory}",
            "METAFLOW_USER": "tester",
            "METAFLOW_CLIENT_CACHE_PATH": f"{self.sources}-client",
            "METAFLOW_HUGGINGFACE_ENDPOINT": self.hub.url,
            "HUB": self.hub.url,
            "PARENT": str(self.parent),
            **more,
        }

    @property
    def parent(self) -> Path:
        """Where snapshots are."""
        return self.directory / "models"

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the interpreter; standard error is with standard output."""
        return subprocess.run(
            [str(self.python), *words],
            cwd=self.directory,
            env=self.variables(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def value(self, code: str, **more: str) -> Any:
        """Run code and return the `value` that it leaves."""
        done = self.run("-c", f"import metaflow\n{code}\nimport json\nprint('VALUE', json.dumps(value))", **more)
        assert done.returncode == 0, done.stdout
        line = next(line for line in done.stdout.splitlines() if line.startswith("VALUE "))
        return json.loads(line.removeprefix("VALUE "))

    def start(self, code: str, **more: str) -> subprocess.Popen[bytes]:
        """Start code and do not wait for it."""
        return subprocess.Popen(
            [str(self.python), "-c", f"import metaflow\n{code}"],
            cwd=self.directory,
            env=self.variables(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def copy_sources(place: Path) -> Path:
    """Copy what is imported; an installation's lists of files, which Metaflow would go by, stay behind."""
    for name in ("asynccache", "metaflow_extensions"):
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return place


@contextmanager
def hub_bed(directory: Path, sources: Path) -> Iterator[Bed]:
    """Start a hub; skip the test where huggingface_hub cannot be obtained."""
    try:
        python = launch_venv("huggingface_hub>=0.19", asynccache=False) / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    (directory / ".metaflow").mkdir()
    with ModelHub() as hub:
        yield Bed(python, sources, directory, hub)


def files(directory: Path) -> dict[str, bytes]:
    """Return all files below a directory, by path."""
    found = [path for path in directory.resolve().rglob("*") if path.is_file()]
    return {str(path.relative_to(directory.resolve())): path.read_bytes() for path in found}
