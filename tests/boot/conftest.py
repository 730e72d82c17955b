"""A store with one packed environment, and nodes that know nothing but a manifest."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.hydrate.pack import pack
from asynccache.hydrate.pack_find import Packed
from asynccache.model.environment import ResolvedEnvironment
from tests.support.channel import cached_channel
from tests.support.hydration import cached, channel_paths, packages_of

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PackedStore:
    root: Path
    environment: ResolvedEnvironment
    pack: Packed

    @property
    def triple(self) -> tuple[str, str, str]:
        env_id = self.environment.id
        return env_id.req_id, env_id.full_id, env_id.arch

    @property
    def ids(self) -> str:
        return ":".join(self.triple[:2])

    def manifest(self, directory: Path, root: str | None = None, **more: object) -> Path:
        path = directory / "manifest.json"
        document = {"version": 1, "root": root or str(self.root), "steps": {"train": list(self.triple[:2])}, **more}
        path.write_text(json.dumps(document))
        return path

    def copy(self, directory: Path) -> "PackedStore":
        shutil.copytree(self.root, directory)
        return PackedStore(directory, self.environment, self.pack)


def packed_store(base: Path) -> PackedStore:
    """Make the store below a directory."""

    async def make() -> PackedStore:
        async with Engine(Settings(store=str(base / "store"), cache_dir=base / "cache")) as engine:
            environment = await cached(engine, packages_of(channel_paths(cached_channel("small"))))
            made = await pack(engine.host, engine.sources, environment, level=1)
            return PackedStore(base / "store", environment, made)

    found = asyncio.run(make())
    shutil.rmtree(base / "cache")
    return found


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    return packed_store(tmp_path_factory.mktemp("packed"))


# imported by Python as it starts: the decoders of an image that has fewer
LACKING = """
import ctypes, sys
names = {names!r}


class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name in names:
            raise ImportError(name)


class Library(ctypes.CDLL):
    def __init__(self, name, *words, **more):
        if name is not None and "zstd" in str(name):
            raise OSError(name)
        super().__init__(name, *words, **more)


sys.meta_path.insert(0, Lacking())
if "libzstd" in names:
    ctypes.CDLL = Library
"""


@dataclass
class Node:
    """A machine with a home, a working directory and a Python of its own, and nothing of this process."""

    home: Path
    python: Path = Path(sys.executable)
    lacks: tuple[str, ...] = ()

    def command(self, *words: object) -> list[str]:
        return [str(self.python), "-m", "asynccache.boot", *map(str, words)]

    def environ(self, **more: str) -> dict[str, str]:
        path = str(REPOSITORY)
        if self.lacks:
            site = self.home / "site"
            site.mkdir(exist_ok=True)
            (site / "sitecustomize.py").write_text(LACKING.format(names=set(self.lacks)))
            path = f"{site}{os.pathsep}{path}"
        return {"PATH": os.defpath, "HOME": str(self.home), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}

    def start(self, *words: object, **more: str) -> "subprocess.Popen[str]":
        self.home.mkdir(exist_ok=True, parents=True)
        return subprocess.Popen(
            self.command(*words),
            cwd=self.home,
            env=self.environ(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def boot(self, *words: object, **more: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def receipt(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.home / "_asynccache_receipt.json").read_text())
        return found

    @property
    def prefix(self) -> Path:
        return Path((self.home / "_env_path").read_text())

    def hidden(self) -> list[str]:
        envs = self.home / ".cache/asynccache/envs"
        return [p.name for p in envs.iterdir() if p.name.startswith(".")] if envs.exists() else []


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node")
