"""The policies of docs/security.md allow each role the calls that its commands make, and refuse it those of others."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiobotocore.client import AioBaseClient  # type: ignore[import-untyped]
from botocore.client import BaseClient  # type: ignore[import-untyped]

from asynccache.api import InputFile, Inputs, Session, Settings
from asynccache.boot.manifest import Manifest
from asynccache.boot.node import make_environment
from asynccache.model.digest import digest_file
from asynccache.store.base import ObjectInfo
from asynccache.store.s3_client import S3Client
from tests.support.fault_server import FaultServer
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.tiny_channel import write_tiny_channel

pytestmark = pytest.mark.xdist_group("object-servers")
PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text("utf-8")
POLICIES: Final = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
READERS, WRITERS, OPERATORS, OF_BUCKET = (policy["Statement"] for policy in POLICIES if "Statement" in policy)
ROLES: Final = {
    "reader": [*READERS, *OF_BUCKET],
    "writer": [*READERS, *WRITERS, *OF_BUCKET],
    "operator": [*READERS, *WRITERS, *OPERATORS, *OF_BUCKET],
}
PREFIX: Final = "policies"
_OF_OBJECT: Final = f"arn:aws:s3:::{BUCKET}/"
# IAM user guide, "Actions, resources, and condition keys for Amazon S3": what a call needs
_ACTIONS: Final = {
    "GetObject": "s3:GetObject", "HeadObject": "s3:GetObject", "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject", "CopyObject": "s3:PutObject", "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject", "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload", "DeleteObject": "s3:DeleteObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}  # fmt: skip
_READING: Final = {"s3:GetObject", "s3:ListBucket"}


@dataclass(frozen=True)
class Need:
    """What one call needs: an action on a resource, and what conditions look at."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)


def needs(operation: str, parameters: Mapping[str, Any]) -> list[Need]:
    action = _ACTIONS[operation]
    if action == "s3:ListBucket":
        return [Need(action, f"arn:aws:s3:::{BUCKET}", {"s3:prefix": parameters["Prefix"]})]
    if operation == "ListMultipartUploads":
        return [Need(action, f"arn:aws:s3:::{BUCKET}")]
    context = {"s3:if-none-match": parameters.get("IfNoneMatch"), "s3:if-match": parameters.get("IfMatch")}
    # parts of an upload cannot have conditions; its completion can
    makes = operation not in {"CreateMultipartUpload", "UploadPart"}
    context["s3:ObjectCreationOperation"] = str(makes).lower() if action == "s3:PutObject" else None
    found = [Need(action, _OF_OBJECT + parameters["Key"], {k: v for k, v in context.items() if v is not None})]
    if operation == "CopyObject":
        found.append(Need("s3:GetObject", _OF_OBJECT + parameters["CopySource"]["Key"]))
    if action == "s3:GetObject":
        # what is not there is answered 404 only to who may list, asked without a prefix
        found.append(Need("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"))
    return found


def allows(statements: list[dict[str, Any]], need: Need) -> bool:
    """Evaluate as IAM does: what a statement denies is denied, else one must allow it."""
    effects = {statement["Effect"] for statement in statements if _applies(statement, need)}
    return effects == {"Allow"}


def _applies(statement: dict[str, Any], need: Need) -> bool:
    here = [text.replace("BUCKET", BUCKET).replace("PREFIX", PREFIX) for text in statement["Resource"]]
    if need.action not in statement["Action"] or not any(fnmatchcase(need.resource, pattern) for pattern in here):
        return False
    return all(
        _holds(operator, wanted, need.context.get(key))
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, wanted: Any, value: str | None) -> bool:
    match operator:
        case "StringLikeIfExists":
            return value is None or any(fnmatchcase(value, each.replace("PREFIX", PREFIX)) for each in wanted)
        case "Null":
            return (value is None) is (wanted == "true")
        case "Bool":
            return bool(value == wanted)
    raise AssertionError(operator)


@contextmanager
def recording(calls: list[tuple[str, dict[str, Any]]]) -> Iterator[None]:
    """Take down every call of clients of S3 in this process, those of a node's too."""
    ours, theirs = AioBaseClient._make_api_call, BaseClient._make_api_call

    async def one(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        calls.append((operation, dict(parameters)))  # which handlers change
        return await ours(client, operation, parameters)

    def other(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        calls.append((operation, dict(parameters)))  # which handlers change
        return theirs(client, operation, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AioBaseClient, "_make_api_call", one)
        patch.setattr(BaseClient, "_make_api_call", other)
        yield


Recorded = dict[tuple[str, str], list[Need]]


@dataclass
class Recorder:
    """Runs commands as the roles that they are for, and keeps what their calls need."""

    settings: Callable[..., Settings]
    found: Recorded = field(default_factory=dict)

    @asynccontextmanager
    async def as_role(self, role: str, command: str, machine: str = "one") -> AsyncIterator[Session]:
        calls: list[tuple[str, dict[str, Any]]] = []
        with recording(calls):
            async with Session(self.settings(machine)) as session:
                yield session
        self.found[role, command] = [need for operation, given in calls for need in needs(operation, given)]


@pytest.fixture(scope="module")
def recorded(moto: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """What commands need, by role and command."""
    here = tmp_path_factory.mktemp("policies")

    async def run() -> Recorded:
        async with FaultServer(write_tiny_channel(here / "channel")) as server:
            await _run(recorder := Recorder(partial(_settings, moto, here, server.url)), moto, here, server.url)
        return recorder.found

    with pytest.MonkeyPatch.context() as patch:
        # of Amazon's own service it is known what conditions do: nothing is tried there
        patch.setattr(S3Client, "is_aws", property(lambda _client: True))
        for name, value in moto.environment.items():
            patch.setenv(name, value)
        return asyncio.run(run())


def _settings(moto: ObjectServer, here: Path, channel: str, machine: str) -> Settings:
    return Settings(
        store=f"s3://{BUCKET}/{PREFIX}", s3_endpoint_url=moto.url, username="ann", channels=[channel],
        cache_dir=here / machine / "cache", datastore_root=here / machine / "here", pin_virtual_packages=True,
        conda_dependency_resolver="rattler", pack="never",
    )  # fmt: skip


async def _run(recorder: Recorder, moto: ObjectServer, here: Path, channel: str) -> None:
    arch, name = "linux-64", "team/a:v1"
    (here / "environment.yml").write_text("dependencies: [tomli]\n")
    as_role = recorder.as_role
    async with as_role("writer", "resolve") as session:
        inputs = Inputs((InputFile(str(here / "environment.yml")),), "3.11.*", (arch,), aliases=(name, "team/a:latest"))
        (await session.resolve(*await session.read(inputs))).raise_for_failures()
    async with as_role("writer", "cache") as session:
        path = next((here / "channel" / "linux-64").glob("linux-only*"))
        (await session.cache(f"{channel}/linux-64/{path.name}")).raise_for_failures()
    async with as_role("writer", "a large package") as session:
        large = here / "large"
        large.write_bytes(os.urandom(17 << 20))
        engine = await session._opening.engine()
        key = "packages/conda/h/large-1-0.conda/large-1-0.conda/" + "0" * 32 + "/large-1-0.conda"
        digests = digest_file(str(large), "sha256", "md5")
        assert isinstance(await engine.store.upload(key, large, digests), ObjectInfo)
        await engine.store.delete(key)
    async with as_role("writer", "doctor") as session:
        (await session.doctor()).raise_for_failures()
    # what this test removes itself, and what doctor removes where that is permitted: tests/store/test_s3.py
    for command in ("a large package", "doctor"):
        found = recorder.found["writer", command]
        recorder.found["writer", command] = [need for need in found if need.action != "s3:DeleteObject"]
    async with as_role("writer", "warm", "two") as session:
        (await session.warm(name, arches=[arch], to="remote")).raise_for_failures()
    async with as_role("writer", "pack") as session:
        (packed,) = await session.pack(name, arches=[arch])
    async with as_role("writer", "env alias") as session:
        (await session.alias(name, "team/b:latest")).raise_for_failures()
    async with as_role("writer", "env import") as session:
        exported = await session.export(name, "explicit", arch=arch)
        (here / "list.txt").write_text(exported.text)
        (await session.import_environment(here / "list.txt", names=["team/c:v1"], arches=[arch])).raise_for_failures()
        environment = await session.find(name, arch=arch)
    async with as_role("writer", "backfill") as session:
        await session.backfill(".conda")
    reading: dict[str, Callable[[Session], Awaitable[object]]] = {
        "env show": lambda s: s.show(name, arch=arch),
        "env history": lambda s: s.history("team/a:latest"), "stat": lambda s: s.stat(), "verify": lambda s: s.verify(),
        "warm --to local": lambda s: s.warm(name, arches=[arch], to="local"), "floor": lambda s: s.floor(),
        "create": lambda s: s.create(name, here / "prefix", arch=arch), "report": lambda s: s.report(),
    }  # fmt: skip
    for command, work in reading.items():
        async with as_role("reader", command, "three") as session:
            await work(session)
    # the record for `report`, which is left where that is permitted: tests/ops/test_report.py
    found = recorder.found["reader", "verify"]
    recorder.found["reader", "verify"] = [need for need in found if need.action != "s3:PutObject"]
    async with as_role("reader", "ls") as session:
        assert [item.key async for item in session.list_packages()]
    async with as_role("reader", "env ls", "four") as session:
        assert [each async for each in session.list_environments()]
    async with as_role("reader", "a node"):
        triple = environment.id.req_id, environment.id.full_id, arch
        path = here / "manifest.json"
        root = f"s3://{BUCKET}/{PREFIX}"
        path.write_text(json.dumps({"version": 1, "root": root, "endpoint_url": moto.url, "steps": {"a": triple[:2]}}))
        receipt = make_environment(Manifest.read(str(path)), triple, lambda _line: None, str(here / "node"))
        assert (receipt.source, packed.size > 0) == ("pack", True)
    client = moto.client()
    damaged = next(key for key in await _keys(client) if "/packages/" in key)
    client.put_object(Bucket=BUCKET, Key=damaged, Body=b"damaged")
    client.close()
    async with as_role("operator", "verify --quarantine") as session:
        assert len((await session.verify(quarantine=True)).archives.damaged) == 1
    async with as_role("writer", "verify --run-id") as session:
        (await session.verify(shard=(1, 2), run_id="night")).raise_for_failures()
    async with as_role("operator", "audit --repair") as session:
        (await session.audit(read_data=1, repair=True, shard=(1, 2), run_id="night")).raise_for_failures()
    async with as_role("operator", "floor 1") as session:
        await session.floor(1)
    async with as_role("operator", "env history --repair") as session:
        await session.history("team/a:latest", repair=True)


async def _keys(client: Any) -> list[str]:
    return [str(item["Key"]) for item in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/")["Contents"]]


@pytest.mark.parametrize("role", ROLES)
def test_the_policy_of_a_role_allows_every_call_of_its_commands(recorded: Recorded, role: str) -> None:
    commands = {command: found for (whose, command), found in recorded.items() if whose == role}
    assert len(commands) >= 3
    assert all(commands.values())
    refused = {c: [n for n in found if not allows(ROLES[role], n)] for c, found in commands.items()}
    assert {command: found for command, found in refused.items() if found} == {}


def test_the_policy_of_readers_refuses_every_write(recorded: Recorded) -> None:
    writes = [need for found in recorded.values() for need in found if need.action not in _READING]
    assert {need.action for need in writes} >= {"s3:PutObject", "s3:DeleteObject"}
    assert [need for need in writes if allows(ROLES["reader"], need)] == []


def test_the_policy_of_writers_refuses_what_operators_do(recorded: Recorded) -> None:
    deletions = [need for found in recorded.values() for need in found if need.action == "s3:DeleteObject"]
    assert deletions
    assert [need for need in deletions if allows(ROLES["writer"], need)] == []
    floor = Need(
        "s3:PutObject", f"{_OF_OBJECT}{PREFIX}/asynccache/format-floor", {"s3:ObjectCreationOperation": "true"}
    )
    assert floor in recorded["operator", "floor 1"]
    assert not allows(ROLES["writer"], floor)


def test_nothing_outside_of_the_store_is_allowed() -> None:
    for action in sorted(set(_ACTIONS.values())):
        for resource in (f"{_OF_OBJECT}other/packages/x", "arn:aws:s3:::another-bucket", f"{_OF_OBJECT}{PREFIX}2/x"):
            assert not allows(ROLES["operator"], Need(action, resource, {"s3:if-none-match": "*"}))
    other = Need("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "other/"})
    assert not allows(ROLES["operator"], other)


def test_a_package_and_a_document_are_written_under_a_condition_only() -> None:
    for key, action in (("packages/conda/x", "true"), ("envs/linux-64/a/b/env", "true"), ("packages/conda/x", "false")):
        need = partial(Need, "s3:PutObject", f"{_OF_OBJECT}{PREFIX}/{key}")
        context = {"s3:ObjectCreationOperation": action}
        assert allows(ROLES["writer"], need(context)) is (action == "false")
        assert allows(ROLES["writer"], need({**context, "s3:if-none-match": "*"}))
        assert allows(ROLES["writer"], need({**context, "s3:if-match": '"etag"'}))
