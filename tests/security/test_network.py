"""What lies between a source and us decides nothing."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from asynccache.model.digest import digest_file
from tests.support.certificates import make_certificate
from tests.support.fault_server import FaultServer
from tests.support.synthetic_packages import write_synthetic_channel


@pytest.mark.parametrize("known", [False, True], ids=["without a digest", "with a digest"])
async def test_a_way_from_https_to_http_is_taken_only_where_a_digest_decides(tmp_path: Path, known: bool) -> None:
    (package,) = write_synthetic_channel(tmp_path / "channel", [9000])
    shown = make_certificate(tmp_path)
    async with FaultServer(tmp_path / "channel") as plain:

        async def elsewhere(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"{plain.url}{request.path}")

        application = web.Application()
        application.router.add_get("/{path:.*}", elsewhere)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shown.context)
        await site.start()
        port = runner.addresses[0][1]
        try:
            address = f"https://127.0.0.1:{port}/{package.relative_to(tmp_path / 'channel').as_posix()}"
            digest = digest_file(str(package), "sha256").sha256
            done = await asyncio.to_thread(
                lambda: subprocess.run(
                    [sys.executable, "-m", "asynccache_cli", "cache", f"{address}#{digest}" if known else address],
                    env={
                        "PATH": os.environ["PATH"],
                        "HOME": str(tmp_path / "home"),
                        "SSL_CERT_FILE": str(shown.pem),
                        "ASYNCCACHE_STORE": str(tmp_path / "store"),
                    },
                    capture_output=True,
                    text=True,
                    timeout=50,
                    check=False,
                )
            )
        finally:
            await runner.cleanup()
    if known:
        assert (done.returncode, list((tmp_path / "store").rglob(package.name)) != []) == (0, True), done.stderr
    else:
        assert done.returncode == 17, done.stderr
        assert "leads from https to http, and nothing says what its bytes should be" in done.stderr
        assert not (tmp_path / "store").exists() or list((tmp_path / "store").rglob(package.name)) == []
