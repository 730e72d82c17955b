"""What Metaflow's settings of its AWS clients say on a node: in variables there, else in the manifest."""

import asyncio
from pathlib import Path

import pytest

from asynccache.boot.manifest import Manifest
from asynccache.boot.ranges import Root
from asynccache.errors import ConfigurationError, HydrationError
from asynccache.node.errors import PackUnusableError
from asynccache.node.patience import Patience
from tests.store.conftest import use_credentials_of
from tests.store.fault_proxy import FaultProxy, Refuse
from tests.support.object_servers import BUCKET, ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")
TRIES = {"tries": 2}


@pytest.mark.parametrize(
    ("variable", "said", "tries"),
    [("", TRIES, 2), ('{"max_attempts": 2}', TRIES, 3), ('{"mode": "adaptive"}', TRIES, 2), ("", {}, Patience().tries)],
)
async def test_a_request_is_tried_as_often_as_is_said(
    moto: ObjectServer, monkeypatch: pytest.MonkeyPatch, variable: str, said: dict[str, object], tries: int
) -> None:
    use_credentials_of(moto, monkeypatch)
    monkeypatch.setenv("METAFLOW_S3_CLIENT_RETRY_CONFIG", variable)
    proxy = FaultProxy(moto.url)
    proxy.script = lambda _request: Refuse(500, "InternalError")
    async with proxy:
        manifest = Manifest({"version": 1, "root": f"s3://{BUCKET}/x", "endpoint_url": proxy.url, "s3": said}, "it")
        ranges = Root(manifest.root, manifest.endpoint_url, manifest.client).object("a")
        ranges.patience = Patience(ranges.patience.tries, outage=0.0, longest=0.0)
        with pytest.raises(PackUnusableError, match=f"tried {tries} times"):
            await asyncio.to_thread(ranges.read, 0, 1)
        assert len(proxy.seen) == tries


def test_what_cannot_be_is_refused_with_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("{", "[]", '{"tries": 1}'):
        monkeypatch.setenv("METAFLOW_S3_CLIENT_RETRY_CONFIG", text)
        with pytest.raises(HydrationError, match="METAFLOW_S3_CLIENT_RETRY_CONFIG must be a JSON object of"):
            Root("s3://bucket/x")


def test_a_plugin_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="names 'team', a plugin of Metaflow, which cannot be imported here"):
        Root("s3://bucket/x", client={"provider": "team"})
