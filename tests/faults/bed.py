"""What the commands of the fault matrix work on: a channel and a store, each behind a breaking proxy."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch
from urllib.parse import urlsplit

from asynccache.model.digest import digest_file
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from asynccache.model.root import StoreRoot
from asynccache.store.open import open_store
from tests.support.background import in_background
from tests.support.breaking_proxy import BreakingProxy
from tests.support.channel_index import write_index
from tests.support.command_line import run_command
from tests.support.conda_package import PLACEHOLDER, Member, Metadata, write_package
from tests.support.fault_server import FaultServer
from tests.support.services import Service

CONTAINER: Final = "faults"
_SECONDS: Final = 100.0  # a command that takes longer hangs
ENVIRONMENT: Final = "team/env:v1"
PAYLOAD: Final = 120_000  # bytes that no compressor makes smaller: the middle of a body is far from its ends
_OTHERS: Final = (
    "ASYNCCACHE_", "METAFLOW_", "CONDA_", "PIP_", "UV_", "AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "XDG_",
)  # fmt: skip
Objects = dict[str, bytes]


def write_channel(root: Path) -> list[str]:
    """Write small packages of both formats; return the paths of the four that are in the environment."""
    source = random.Random(28)
    here = current_architecture()
    (root / here).mkdir(parents=True)
    (root / "noarch").mkdir()
    paths = []
    for name, form in (
        ("tool", Format.CONDA),
        ("data", Format.TAR_BZ2),
        ("extra", Format.CONDA),
        ("base", Format.TAR_BZ2),
    ):
        members = [
            Member(f"share/{name}/data.bin", source.randbytes(PAYLOAD)),
            Member(f"share/{name}/where.txt", f"{PLACEHOLDER}/share/{name}\n".encode()),
        ]
        if name == "tool":
            members.append(Member("bin/hello", b"#!/bin/sh\necho hello from here\n", executable=True))
        metadata = Metadata(name=name, version="1.0", noarch="generic", depends=("data",) if name == "tool" else ())
        paths += [f"noarch/{path.name}" for path in write_package(root / "noarch", metadata, members, [form])]
    python = Metadata(name="python", version="3.11.9", subdir=here)  # solvers want one
    write_package(root / here, python, [Member("share/python.bin", source.randbytes(PAYLOAD))], [Format.CONDA])
    write_index(root)
    return paths


@dataclass
class Bed:
    """A running bed.

    Attributes:
        directory: Holds everything of a cell; made again for each.
        service: Where the store lies; None for a directory.
        sides: What answers come through: `source`, before the channel, and `store`, before the server of the store.
        packages: Addresses of the channel's packages, with digests, as clients see them.
        runner: Of the loop on which the store is looked at.
    """

    directory: Path
    service: Service | None
    sides: Mapping[str, BreakingProxy]
    packages: list[str]
    runner: asyncio.Runner

    def __post_init__(self) -> None:
        # past the proxy: what the product wrote is read by the product, whose reading the conformance suite vouches for
        endpoint = self.service.endpoint() if self.service is not None else None
        self._store = open_store(StoreRoot.parse(self.root, endpoint=endpoint))
        self.runner.run(self._store.__aenter__())

    @property
    def root(self) -> str:
        """Address of the store."""
        return self.service.root("root") if self.service is not None else str(self.directory.with_name("store"))

    @property
    def prefix(self) -> Path:
        """Where `create` makes an environment."""
        return self.directory / "made" / "env"

    def fresh(self, objects: Objects) -> None:
        """Begin a cell: an empty home, and a store that holds these objects and nothing else."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.prefix.parent.mkdir(parents=True)
        (self.directory / "list.txt").write_text("@EXPLICIT\n" + "\n".join(self.packages) + "\n", "utf-8")
        (self.directory / "one.yml").write_text("dependencies: [tool, extra]\n", "utf-8")
        self.runner.run(self._fill(objects))

    async def _fill(self, objects: Objects) -> None:
        await asyncio.gather(*[self._store.delete(info.key) async for info in self._store.scan()])
        await asyncio.gather(*(self._store.put(key, data) for key, data in objects.items()))

    def objects(self) -> Objects:
        """Return what the store holds, past the proxy."""
        return self.runner.run(self._read())

    async def _read(self) -> Objects:
        keys = [info.key async for info in self._store.scan()]
        return dict(zip(keys, await asyncio.gather(*map(self._store.get, keys)), strict=True))

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run `asynccache` as a process of its own.

        Raises:
            subprocess.TimeoutExpired: It hangs.
        """
        return run_command([*words], cwd=self.directory, env=self._variables(), timeout=_SECONDS)

    def _variables(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(_OTHERS) and not k.lower().endswith("_proxy")}
        reached = self.service.setting(self.sides["store"].url) if self.service is not None else {}
        return {
            **clean,
            **(self.service.environment if self.service is not None else {}),
            **{f"ASYNCCACHE_{name.upper()}": value for name, value in reached.items()},
            "HOME": str(self.directory),
            "METAFLOW_USER": "ann",
            "ASYNCCACHE_STORE": self.root,
            "ASYNCCACHE_CHANNELS": json.dumps([self.sides["source"].url]),
            "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
            "ASYNCCACHE_PIN_VIRTUAL_PACKAGES": "true",
            "ASYNCCACHE_PACK": "never",
            # as in a data centre where nothing takes long: what stalls is noticed soon
            "ASYNCCACHE_CONNECT_TIMEOUT": "2",
            "ASYNCCACHE_READ_TIMEOUT": "1.5",
            "ASYNCCACHE_RETRY_CAP": "0.3",
        }

    def close(self) -> None:
        """Give the store's connections back."""
        self.runner.run(self._store.__aexit__(None, None, None))


@contextmanager
def open_bed(scratch: Path, service: Service | None) -> Iterator[Bed]:
    """Start what commands talk to, but for the server of the store itself.

    Args:
        scratch: An empty directory.
        service: A container that nobody else uses; None for a store that is a directory.
    """
    channel = scratch / "channel"
    paths = write_channel(channel)
    with ExitStack() as stack:

        def before(url: str) -> BreakingProxy:
            return stack.enter_context(in_background(BreakingProxy(urlsplit(url).port or 0)))

        source = before(stack.enter_context(in_background(FaultServer(channel))).url)
        sides = {"source": source, **({"store": before(service.server)} if service is not None else {})}
        packages = [f"{source.url}/{path}#{digest_file(str(channel / path), 'md5').md5}" for path in paths]
        stack.enter_context(patch.dict(os.environ, service.environment if service is not None else {}))
        runner = stack.enter_context(asyncio.Runner())
        yield stack.enter_context(closing(Bed(scratch / "cell", service, sides, packages, runner)))
