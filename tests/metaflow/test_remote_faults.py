"""Remote steps outlive a store that fails for a while, broken objects, and being killed: the run ends well."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from aiohttp import web

from asynccache.node.pack_format import OBJECT_NAME
from tests.metaflow.remote import Bed, remote_bed
from tests.store.fault_proxy import Do, Fault, Refuse
from tests.support.datastores import BUCKET

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]
CACHE = "/conda_env/"
OUTAGE_SECONDS = 20.0


class OnNodes:
    """A script that waits for the first request a job makes below the cache root."""

    def __init__(self) -> None:
        self.bed: Bed | None = None
        self.since: float | None = None
        self.refused = 0

    def __call__(self, request: web.BaseRequest) -> Fault | None:
        if self.bed is None or not self.bed.containers or CACHE not in request.path:
            return None
        if self.since is None:
            self.since = time.monotonic()
            return self.first()
        return self.later(time.monotonic() - self.since)

    def first(self) -> Fault | None:
        return self.later(0)

    def later(self, seconds: float) -> Fault | None:
        return None


class Outage(OnNodes):
    """The store answers 503 from the first request on, for a while."""

    def later(self, seconds: float) -> Fault | None:
        if seconds > OUTAGE_SECONDS:
            return None
        self.refused += 1
        return Refuse(503, "SlowDown")


class Kill(OnNodes):
    """The process that makes the environment is killed when it first asks for something."""

    killed: int | None = None

    def first(self) -> Fault | None:
        return Do(self._kill)

    def _kill(self) -> None:
        assert self.bed is not None
        for container in self.bed.containers:
            if container.process is None or container.exit_code is not None:
                continue
            for process in psutil.Process(container.process.pid).children(recursive=True):
                words = process.cmdline()
                if any("asynccache.boot" in word for word in words) and "python" in Path(words[0]).name:
                    os.kill(process.pid, signal.SIGKILL)
                    self.killed = process.pid


class Corrupt(OnNodes):
    """Every 64 KiB of the packed environment, one byte is another one, from before the first request is answered."""

    corrupted: str | None = None

    def first(self) -> Fault | None:
        return Do(self._corrupt)

    def _corrupt(self) -> None:
        assert self.bed is not None
        client = self.bed.cloud.objects.client()
        (pack,) = [each["Key"] for each in objects(client) if each["Key"].endswith(OBJECT_NAME)]
        data = bytearray(client.get_object(Bucket=BUCKET, Key=pack)["Body"].read())
        for position in range(1 << 16, len(data) - (1 << 16), 1 << 16):
            data[position] ^= 0xFF
        client.put_object(Bucket=BUCKET, Key=pack, Body=bytes(data))
        client.close()
        self.corrupted = pack


def test_a_store_that_answers_503_for_20_seconds_is_waited_for(tmp_path: Path) -> None:
    script = Outage()
    with remote_bed(tmp_path / "bed", chroot=False, script=script) as bed:
        script.bed = bed
        bed.flow("one_step_flow.py", "run", "--with", "batch")

        assert script.refused
        assert bed.artifact("OneStepFlow", "end", "found")[:2] == ["1.17.0", "3.10"]


def test_a_task_whose_process_is_killed_while_it_makes_its_environment_succeeds_when_tried_again(
    tmp_path: Path,
) -> None:
    script = Kill()
    with remote_bed(tmp_path / "bed", chroot=False, script=script) as bed:
        script.bed = bed
        bed.flow("one_step_flow.py", "run", "--with", "batch")

        assert script.killed
        assert bed.artifact("OneStepFlow", "end", "found") == ["1.17.0", "3.10", 1]


def test_a_task_whose_packed_environment_is_corrupt_makes_it_from_packages(tmp_path: Path) -> None:
    script = Corrupt()
    with remote_bed(tmp_path / "bed", chroot=False, script=script) as bed:
        script.bed = bed
        bed.flow("one_step_flow.py", "run", "--with", "batch")

        assert script.corrupted
        assert bed.artifact("OneStepFlow", "end", "found")[:2] == ["1.17.0", "3.10"]
        assert any("made from packages" in container.output for container in bed.containers)


def objects(client: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [each for page in pages for each in page.get("Contents", [])]
