"""The flow of the examples divides a store, goes on where a killed task was, and its report adds up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from asynccache.api import Session, Settings
from asynccache.model.package import Format
from tests.support.cloud import Cloud, running_cloud
from tests.support.datastores import BUCKET as FLOWS
from tests.support.fault_server import FaultServer
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.object_servers import BUCKET, ObjectServer, weed_binary
from tests.support.small_channel import SyntheticChannel

FLOW: Final = Path(__file__).resolve().parents[2] / "examples" / "backfill_flow.py"
PACKAGES: Final = 24  # half of them in each format
# requests a second of each task: what does so little would be done before it is killed
SLOW: Final = {"ASYNCCACHE_STORE_RATE": "15"}


async def _fill(server: ObjectServer, root: str, channel: SyntheticChannel, directory: Path) -> None:
    settings = Settings(store=root, s3_endpoint_url=server.url, cache_dir=directory / "filling")
    async with FaultServer(channel.root) as source, Session(settings) as session:
        (await session.cache(packages=channel.packages(source.url, PACKAGES))).raise_for_failures()


async def _archives(server: ObjectServer, root: str, directory: Path) -> int:
    settings = Settings(store=root, s3_endpoint_url=server.url, cache_dir=directory / "looking")
    async with Session(settings) as session:
        return sum([item.format == Format.CONDA async for item in session.list_packages()])


def _begun(client: Any, root: str) -> Iterator[tuple[int, bool]]:
    """Yield each shard, from 1, whose worker has written into the store, and whether it is done."""
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/asynccache/shards/")
    for item in listed.get("Contents", []):
        found = re.fullmatch(r".*/backfill-\w+/\d+/(\d+)\.json", item["Key"])
        if found is not None:
            journal = json.loads(client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
            yield int(found[1]), journal["complete"]


@contextmanager
def killing(server: ObjectServer, root: str, kill: Callable[[int], bool]) -> Iterator[list[int]]:
    """Kill one worker in the middle of its shard, while the block runs; gives the shards whose worker was killed.

    Args:
        server: Where the store is.
        root: Of the store.
        kill: Kills the process of a shard, from 1; False where there is none.
    """
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        client = server.client()
        while not killed and not over.wait(0.02):
            for shard, done in list(_begun(client, root)):
                if not done and kill(shard):
                    time.sleep(0.2)
                    # it may have ended just before
                    killed.extend(each for each, complete in _begun(client, root) if each == shard and not complete)
                    break
        client.close()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield killed
    finally:
        over.set()
        watching.join(20)


def _kill_task(parent: int, shard: int) -> bool:
    """Kill the process of a task on this machine, a child of the one that runs the flow."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
            above = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if above == parent and (b"--split-index", str(shard - 1).encode()) in pairwise(words):
            os.kill(int(directory.name), signal.SIGKILL)
            return True
    return False


def _report(said: str) -> dict[str, Any]:
    """Return the report that the flow prints, whose lines begin with who prints them."""
    lines = [re.sub(r"^.*\[\d+/end/\d+ \(pid \d+\)\] ?", "", line) for line in said.splitlines() if "/end/" in line]
    text = "\n".join(lines)
    found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return found


def _adds_up(report: Mapping[str, Any], shards: int) -> None:
    assert (report["shards"], report["complete"], report["unfinished"]) == (shards, True, [])
    assert (report["packages"], report["failed"], report["skipped"]) == (PACKAGES, 0, 0)
    # what a killed worker did behind its last mark was found done
    assert report["there"] >= PACKAGES // 2
    assert report["there"] + report["made"] == PACKAGES


def _python() -> Path:
    try:
        return launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("object-servers")
@pytest.mark.parametrize("shards", [4, pytest.param(16, marks=pytest.mark.long)])
def test_a_shard_that_is_killed_is_tried_again_and_the_report_adds_up(
    shards: int, weed: ObjectServer, channel: SyntheticChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, root = _python(), f"s3://{BUCKET}/flow-{tmp_path.name}"
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    asyncio.run(_fill(weed, root, channel, tmp_path))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
    own = {"ASYNCCACHE_CACHE_DIR": str(tmp_path / "flow-cache"), "ASYNCCACHE_S3_ENDPOINT_URL": weed.url, **SLOW}
    words = ["--no-pylint", "run", "--store", root, "--shards", str(shards), "--max-workers", "4"]
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(
            [str(python), str(FLOW), *words], cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT,
            env={**clean, "METAFLOW_USER": "tester", **own},
        ) as process,
        killing(weed, root, lambda shard: _kill_task(process.pid, shard)) as killed,
    ):  # fmt: skip
        code = process.wait(500)
    printed = (tmp_path / "said").read_text()
    assert code == 0, printed
    assert len(killed) == 1, printed
    assert re.search(r"/backfill/\d+ .*(failed|retry)", printed), printed
    _adds_up(_report(printed), shards)
    assert asyncio.run(_archives(weed, root, tmp_path)) == PACKAGES


def _kill_pod(cloud: Cloud, shard: int) -> bool:
    for container in list(cloud.kubernetes.containers):
        process, words = container.process, " ".join(container.command)
        if process is not None and process.poll() is None and re.search(rf"--split-index {shard - 1}\b", words):
            os.killpg(process.pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.cloud
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("shards", [4, 16])
def test_pods_share_a_backfill_and_one_that_is_killed_is_made_again(
    shards: int, channel: SyntheticChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weed_binary() is None:
        pytest.skip("SeaweedFS is not installed")
    python, root = _python(), f"s3://{FLOWS}/conda_env"
    with running_cloud(
        tmp_path / "cloud", chroot=False, installed=python.parents[1], node_variables=SLOW, at_once=4
    ) as cloud:
        for name, value in cloud.objects.environment.items():
            monkeypatch.setenv(name, value)
        asyncio.run(_fill(cloud.objects, root, channel, tmp_path))
        words = ["run", "--store", root, "--shards", str(shards), "--max-workers", "4", "--with", "kubernetes"]
        with killing(cloud.objects, root, lambda shard: _kill_pod(cloud, shard)) as killed:
            done = cloud.flow(python, FLOW, "--no-pylint", *words)
        pods = cloud.kubernetes.containers
        said = done.stdout + "\n".join(f"== {each.name}\n{each.output}" for each in pods)
        assert not done.returncode, said
        assert len(killed) == 1, said
        assert len(pods) == shards + 4, said  # start, join, end, and the one that was made again
        _adds_up(cloud.look(python, "Flow('BackfillFlow').latest_run['end'].task['report'].data"), shards)
        assert asyncio.run(_archives(cloud.objects, root, tmp_path)) == PACKAGES
