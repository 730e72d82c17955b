"""What tests of remote steps share: a cloud, the flows' channel on loopback, and a venv with Metaflow and ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asynccache.errors import FetchError
from tests.store.fault_proxy import FaultProxy, Script
from tests.support.azurite import CannotInstallError as NoAzureServerError
from tests.support.background import in_background
from tests.support.cloud import Cloud, running_cloud
from tests.support.fault_server import FaultServer
from tests.support.flow_channel import flow_channel
from tests.support.google_storage import CannotInstallError as NoGoogleServerError
from tests.support.metaflow_venv import NODE, CannotInstallError, launch_venv
from tests.support.object_servers import weed_binary
from tests.support.sandbox import Container

FLOWS = Path(__file__).parent / "flows"


@dataclass(frozen=True, slots=True)
class Bed:
    """What a test submits from and to.

    Attributes:
        cloud: Where jobs run.
        python: The interpreter of a venv with Metaflow and asynccache.
        proxy: What all requests to S3 pass.
        channel_requests: What was asked of the channel, one path each; it may be asked by the submitting side only.
    """

    cloud: Cloud
    python: Path
    proxy: FaultProxy
    channel_requests: Callable[[], list[str]]

    def flow(self, name: str, *words: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a flow of `flows` with --environment=conda to a good end and return what it printed."""
        done = self.cloud.flow(self.python, FLOWS / name, "--environment=conda", *words, variables=variables)
        said = "\n\n".join(f"== {each.name}\n{each.output}" for each in self.containers)
        assert not done.returncode, f"{done.stdout}\n\n{said}"
        return done.stdout

    @property
    def containers(self) -> list[Container]:
        """Every container that ran."""
        return [*self.cloud.batch.containers, *self.cloud.kubernetes.containers]

    def artifact(self, flow: str, step: str, name: str) -> Any:
        """Return an artifact of a step with one task, of the latest run."""
        return self.cloud.look(self.python, f"Flow('{flow}').latest_run['{step}'].task['{name}'].data")


@contextmanager
def remote_bed(
    directory: Path, *, script: Script = lambda _request: None, datastore: str = "s3", **cloud_options: Any
) -> Iterator[Bed]:
    """Start everything; skip the test where it cannot be obtained.

    Args:
        directory: New or empty.
        script: Breaks requests to S3.
        datastore: Type of the datastore.
        cloud_options: See `running_cloud`.
    """
    if weed_binary() is None:
        pytest.skip("SeaweedFS is not installed")
    try:
        python = launch_venv(*(() if datastore == "s3" else NODE[datastore])) / "bin" / "python"
        channel = flow_channel(datastore=datastore)
    except (CannotInstallError, LookupError, FetchError) as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        server = stack.enter_context(in_background(FaultServer(channel.root)))
        try:
            cloud = stack.enter_context(running_cloud(directory, datastore=datastore, **cloud_options))
        except (CannotInstallError, NoAzureServerError, NoGoogleServerError, LookupError) as error:
            pytest.skip(str(error))
        proxy = stack.enter_context(in_background(FaultProxy(cloud.datastore.server.url, script)))
        if datastore == "s3":
            cloud.variables["METAFLOW_S3_ENDPOINT_URL"] = proxy.url
        cloud.variables["ASYNCCACHE_CHANNELS"] = f'["{server.url}"]'
        yield Bed(cloud, python, proxy, lambda: [each.path for each in server.requests])


def assert_remote_flow_ran(bed: Bed) -> None:
    """Check artifacts and interpreters of the latest run of RemoteFlow."""
    start = bed.artifact("RemoteFlow", "end", "start_seen")
    found = bed.artifact("RemoteFlow", "end", "all_found")
    join = bed.artifact("RemoteFlow", "end", "join_seen")
    end = bed.artifact("RemoteFlow", "end", "end_seen")

    assert start[:2] == join[:2] == ["3.12", "1.16.0"]
    assert [each[:4] for each in found] == [
        [0, 0, "3.10", "1.17.0"],
        [1, 1, "3.10", "1.17.0"],
        [2, 0, "3.10", "1.17.0"],
    ]
    image = "/usr" if bed.cloud.image.whole else str(bed.cloud.image.root)
    assert end[2] == image
    assert not {start[2], join[2], *(each[4] for each in found)} & {image, sys.prefix}
    codes = sorted(container.exit_code or 0 for container in bed.containers)
    assert codes == [0] * 6 + [1]
    assert sum("the planned failure" in container.output for container in bed.containers) == 1


def assert_receipts_are_kept(bed: Bed) -> None:
    """Check that every task of the latest run of RemoteFlow with an environment says how that was made on its node."""
    tasks = "[t for s in Flow('RemoteFlow').latest_run for t in s]"
    kept = bed.cloud.look(bed.python, f"[[t.path_components[2], t.metadata_dict] for t in {tasks}]")
    receipts = [json.loads(said["conda_env_receipt"]) for step, said in kept if step != "end"]
    assert len(receipts) == 5
    assert {receipt["source"] for receipt in receipts} == {"pack"}
    assert all(receipt["bytes"] > 0 and receipt["requests"] > 0 for receipt in receipts)
    assert not any("conda_env_receipt" in said for step, said in kept if step == "end")
