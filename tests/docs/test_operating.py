"""What docs/operating.md says of buckets is so, and its commands run there: versions, object lock, KMS, two buckets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from asynccache.api import Session, Settings
from asynccache.engine.engine import Engine
from asynccache.model.alias import Alias
from asynccache.ops.catalog import Catalog
from tests.docs.test_docs import COMMAND, REPOSITORY
from tests.store.conftest import use_credentials_of
from tests.support.command_line import run_command
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.object_servers import ObjectServer
from tests.support.small_channel import SyntheticChannel

pytestmark = pytest.mark.xdist_group("object-servers")
PAGE = (REPOSITORY / "docs" / "operating.md").read_text("utf-8")
KMS = "aws:kms"
NAME = Alias.parse("team/env:candidate")


class Bucket:
    """A bucket that keeps versions, seen from outside.

    Args:
        server: Where it is.
        name: Of the bucket, which is made.
        locked: Whether versions stay for a day at least, whoever wants to delete them.
    """

    def __init__(self, server: ObjectServer, name: str, *, locked: bool) -> None:
        self.client: Any = server.client()
        self.name = name
        if locked:
            self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
            rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
            configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
            self.client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)
        else:
            self.client.create_bucket(Bucket=name)
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def close(self) -> None:
        """End its connections."""
        self.client.close()

    def versions(self, prefix: str) -> Counter[str]:
        """Return how many versions each key has."""
        return Counter(item["Key"] for item in self._listed(prefix).get("Versions", []))

    def deleted(self, prefix: str) -> set[str]:
        """Return keys that were deleted, whose versions stay."""
        return {item["Key"] for item in self._listed(prefix).get("DeleteMarkers", [])}

    def _listed(self, prefix: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.client.list_object_versions(Bucket=self.name, Prefix=prefix)
        assert not found["IsTruncated"]
        return found

    def encryptions(self, prefix: str) -> set[str]:
        """Return how objects are encrypted."""
        keys = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)["Contents"]
        heads = [self.client.head_object(Bucket=self.name, Key=item["Key"]) for item in keys]
        return {head.get("ServerSideEncryption", "") for head in heads}


@contextmanager
def bucket(server: ObjectServer, name: str, *, locked: bool = False) -> Iterator[Bucket]:
    with closing(Bucket(server, name, locked=locked)) as made:
        yield made


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


async def filled(channel: SyntheticChannel, url: str, settings: Settings) -> None:
    """Cache packages of both formats, publish two environments of them, and move a name from one to the other."""
    async with Engine(settings) as engine:
        packages = channel.packages(url, 6)
        (await engine.cache(packages)).raise_for_failures()
        catalog = Catalog(settings, engine.store)
        assert catalog.aliases is not None
        for environment in (environment_of(packages), environment_of(packages[:5], "b", "c")):
            await catalog.publish(environment)
            await catalog.aliases.assign(NAME, (environment.id.req_id, environment.id.full_id))


def settings_of(server: ObjectServer, store: str, directory: Path, encryption: str = KMS) -> Settings:
    return Settings(
        store=store,
        cache_dir=directory / "cache",
        s3_endpoint_url=server.url,
        s3_server_side_encryption=encryption or None,
    )


@pytest.mark.long  # the commands run in a directory, too (test_docs), and what they leave behind is shown below
async def test_every_command_of_the_page_runs_on_a_locked_and_encrypted_bucket_and_between_two(
    channel: SyntheticChannel, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(moto, monkeypatch)
    settings = settings_of(moto, "s3://team/conda_env", tmp_path)
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
    variables |= {"ASYNCCACHE_S3_ENDPOINT_URL": moto.url, "ASYNCCACHE_S3_SERVER_SIDE_ENCRYPTION": KMS}
    commands = COMMAND.findall(PAGE)
    assert len(commands) >= 10
    with bucket(moto, "team", locked=True) as team, bucket(moto, "team-eu", locked=True) as europe:
        async with FaultServer(channel.root) as server:
            await filled(channel, server.url, settings)
            for command in commands:
                words = shlex.split(command.replace("--sample 5%", "--sample 100%"))[1:]  # 5% of so few are none
                done = await asyncio.to_thread(run_command, words, cwd=tmp_path, env=variables)
                assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        for place in (team, europe):
            packages = place.versions("conda_env/packages/")
            assert len(packages) == 9
            assert set((packages + place.versions("conda_env/envs/linux-64/")).values()) == {1}
            assert place.encryptions("conda_env/") == {KMS}
        assert team.versions("conda_env/envs/aliases/generic/team/env/candidate").total() == 2
        assert team.deleted("conda_env/packages/") | team.deleted("conda_env/envs/") == set()


@pytest.mark.parametrize("name", ["moto", "weed"])
async def test_what_is_quarantined_or_cleaned_stays_as_an_old_version(
    channel: SyntheticChannel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    objects: ObjectServer = request.getfixturevalue(name)
    use_credentials_of(objects, monkeypatch)
    with bucket(objects, "versions", locked=name == "weed") as team:
        settings = settings_of(objects, "s3://versions/root", tmp_path, KMS if name == "moto" else "")
        async with FaultServer(channel.root) as server:
            await filled(channel, server.url, settings)
            key = min(team.versions("root/packages/"))
            good = team.client.get_object(Bucket="versions", Key=key)["Body"].read()
            team.client.put_object(Bucket="versions", Key=key, Body=b"wrong", ContentMD5=_md5(b"wrong"))
            team.client.put_object(Bucket="versions", Key="root/asynccache/probe-1", Body=b"x", ContentMD5=_md5(b"x"))
            async with Session(settings) as session:
                (damage,) = (await session.verify(quarantine=True)).archives.damaged
                cleaned = await session.clean_store(older_than=-60)
                assert [each.key for each in cleaned.removed] == ["asynccache/probe-1"]
                assert team.deleted("root/packages/") == {key}
                assert team.versions(key) == {key: 2}  # the good one, and the damaged one that was moved
                assert team.versions("root/asynccache/probe-1").total() == 1
                assert (
                    team.client.get_object(Bucket="versions", Key=f"root/{damage.moved_to}")["Body"].read() == b"wrong"
                )
                (await session.audit(repair=True)).raise_for_failures()  # it comes again where it was deleted
            assert team.client.get_object(Bucket="versions", Key=key)["Body"].read() == good
            assert team.deleted("root/packages/") == {key}
            assert team.versions(key) == {key: 3}
            if name == "moto":  # the other has no keys to encrypt with
                assert team.encryptions("root/") == {KMS}
