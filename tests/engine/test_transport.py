"""Every transport answers alike: aiohttp against a real server, and the twin in memory."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from asynccache.engine.conda_files import conda_connection
from asynccache.engine.transport import Answer, HTTPTransport, MemoryTransport, Transport, TransportError
from asynccache.errors import ConfigurationError, FetchRefusedError
from asynccache.model.credentials import Credentials
from asynccache.model.url import PackageURL
from tests.support.certificates import make_certificate
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind

BODY = bytes(range(256)) * 4000


def _answer(url: PackageURL, headers: Mapping[str, str]) -> Answer:
    if url.path.endswith("missing.conda"):
        return 404, {}, []
    if url.path.endswith("broken.conda"):
        return 200, {"Content-Length": str(len(BODY))}, [BODY[:5000], TransportError(f"{url} broke off")]
    if wanted := headers.get("range"):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        return 206, {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}, [BODY[start:]]
    return 200, {"Content-Length": str(len(BODY)), "ETag": '"1"'}, [BODY]


@pytest.fixture(params=["http", "memory"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Transport, str]]:
    if request.param == "memory":
        async with MemoryTransport(_answer) as twin:
            yield twin, "https://h.test"
        return
    for name in ("a.conda", "broken.conda"):
        (tmp_path / name).write_bytes(BODY)
    real = HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=30)
    async with FaultServer(tmp_path, faults=[Fault(Kind.DROP, "*broken*")]) as server, real as transport:
        yield transport, server.url


async def _get(transport: Transport, text: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    url, _ = PackageURL.parse(text)
    async with transport.get(url, headers=headers, credentials=None) as response:
        body = b""
        while piece := await response.read_any():
            body += piece
        return response.status, response.headers, body


async def test_a_body_is_read_to_its_end(served: tuple[Transport, str]) -> None:
    status, headers, body = await _get(served[0], served[1] + "/a.conda")
    assert (status, body) == (200, BODY)
    assert headers["content-length"] == headers["Content-Length"] == str(len(BODY))


async def test_a_range_is_answered_with_the_rest(served: tuple[Transport, str]) -> None:
    status, headers, body = await _get(served[0], served[1] + "/a.conda", Range="bytes=1000-")
    assert (status, body) == (206, BODY[1000:])
    assert headers["content-range"] == f"bytes 1000-{len(BODY) - 1}/{len(BODY)}"


async def test_a_refusal_is_an_answer_not_an_error(served: tuple[Transport, str]) -> None:
    assert (await _get(served[0], served[1] + "/missing.conda"))[0] == 404


async def test_a_connection_that_breaks_off_is_an_error_with_the_url(served: tuple[Transport, str]) -> None:
    with pytest.raises(TransportError, match=r"/broken\.conda"):
        await _get(served[0], served[1] + "/broken.conda")


@pytest.mark.parametrize("fault", [Kind.STALL_HEADERS, Kind.STALL_BODY])
async def test_a_server_that_stalls_is_given_up(tmp_path: Path, fault: Kind) -> None:
    (tmp_path / "a.conda").write_bytes(BODY)
    real = HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=0.2)
    async with FaultServer(tmp_path, faults=[Fault(fault, seconds=30)]) as server, real as transport:
        with pytest.raises(TransportError, match="stalled: no byte came"):
            await _get(transport, server.url + "/a.conda")


async def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    real = HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=30)
    async with real as transport:
        with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:9/a\.conda cannot be read"):
            await _get(transport, "http://127.0.0.1:9/a.conda")


@asynccontextmanager
async def _answering(seen: list[tuple[str, str]], context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answer everything; notes what is asked for and what the asker says to a proxy."""

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append((str(request.url), request.headers.get("Proxy-Authorization", "")))
        return web.Response(body=b"1")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _real() -> HTTPTransport:
    return HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=30)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without configuration, where nothing else names any."""
    for name in ("XDG_CONFIG_HOME", "CONDA_ROOT", "MAMBA_ROOT_PREFIX", "CONDA_PREFIX", "CONDARC", "MAMBARC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


async def test_conda_packages_are_asked_of_the_proxy_that_conda_is_configured_with(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, direct = list[tuple[str, str]](), list[tuple[str, str]]()
    async with _answering(seen) as proxy, _answering(direct) as server:
        monkeypatch.setenv("PROXY", proxy.replace("//", "//me:pw@"))
        servers = f'{{http: "$PROXY", "http://127.0.0.1": "{proxy}"}}'
        (home / ".condarc").write_text(f"proxy_servers: {servers}\n")
        async with _real() as transport:
            await _get(transport, "http://nowhere.test/ch/noarch/a-1-0.conda")
            await _get(transport, f"{server}/ch/noarch/a-1-0.tar.bz2")
            await _get(transport, f"{server}/a-1-py3-none-any.whl")
    login = Credentials("me", "pw").authorization
    assert seen == [("http://nowhere.test/ch/noarch/a-1-0.conda", login), (f"{server}/ch/noarch/a-1-0.tar.bz2", "")]
    assert direct == [(f"{server}/a-1-py3-none-any.whl", "")]
    assert "pw" not in repr(conda_connection())


async def test_certificates_of_channels_are_checked_as_conda_is_configured(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = make_certificate(home)
    async with _answering([], shown.context) as server:

        async def fetched(name: str = "a-1-0.conda") -> bytes:
            async with _real() as transport:
                return (await _get(transport, f"{server}/{name}"))[2]

        for words in ("", "ssl_verify: true", "ssl_verify: truststore"):
            (home / ".condarc").write_text(words)
            with pytest.raises(FetchRefusedError, match="a certificate that cannot be verified"):
                await fetched()
        for words in (f"ssl_verify: {shown.pem}", "ssl_verify: false", "ssl_verify: <false>"):
            (home / ".condarc").write_text(words)
            assert await fetched() == b"1"
            with pytest.raises(FetchRefusedError):
                await fetched("a-1-py3-none-any.whl")
        monkeypatch.setenv("CONDA_SSL_VERIFY", "yes")
        with pytest.raises(FetchRefusedError):
            await fetched()
        monkeypatch.setenv("CONDA_SSL_VERIFY", str(home / "gone.pem"))
        with pytest.raises(ConfigurationError, match=r"ssl_verify .* names .*gone\.pem, which holds no certificates"):
            await fetched()
