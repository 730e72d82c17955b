"""What the stand-ins for AWS Batch and Kubernetes have in common: JSON over HTTP on 127.0.0.1, a container per job."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from tests.support.sandbox import Container, Image

_JOIN_SECONDS: Final = 20.0

Json: TypeAlias = dict[str, Any]


class ApiError(Exception):
    """What the caller did wrong, as the service would say it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class JobServer:
    """Answers an API on a free port of 127.0.0.1 while the context is open, and runs the jobs it is given.

    Args:
        image: What every container starts from, whatever the job names.
        directory: Where the containers' directories are made.
        at_once: How many containers run side by side; the others wait.
    """

    def __init__(self, image: Image, directory: Path, *, at_once: int = 4) -> None:
        self.containers: list[Container] = []
        self._image = image
        self._directory = directory
        self._slots = threading.Semaphore(at_once)
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address, without a path."""
        assert self._server is not None, "not entered"
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        """Return status and body for a request; called with the lock held."""
        raise NotImplementedError

    def failure(self, error: ApiError) -> Json:
        """Return the body that tells of an error."""
        return {"message": str(error)}

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._start(self._server.serve_forever)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None, "not entered"
        with self._lock:
            self._closing = True
        self._server.shutdown()
        self._server.server_close()
        for container in list(self.containers):
            container.stop()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def launch(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        started: Callable[[], None],
        ended: Callable[[int], None],
    ) -> Container:
        """Run a command in a container; `started` and `ended` (with its exit code) are called with the lock held."""
        container = Container(name, tuple(command), dict(environment), self._directory / name)
        self.containers.append(container)
        self._start(self._run, container, started, ended)
        return container

    def _run(self, container: Container, started: Callable[[], None], ended: Callable[[int], None]) -> None:
        with self._slots:
            with self._lock:
                if self._closing:
                    return
                process = container.start(self._image)
                started()
            code = process.wait()
        with self._lock:
            ended(code)

    @staticmethod
    def terminate(container: Container) -> None:
        """Ask a running container to end, as the service does when a job is cancelled."""
        if container.process is not None and container.process.poll() is None:
            os.killpg(container.process.pid, signal.SIGTERM)


def _handler(server: JobServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Print nothing."""

        def _handle(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(size)
            try:
                body = json.loads(text) if text else {}
                with server._lock:
                    status, answer = server.answer(self.command, self.path, body)
            except ApiError as error:
                status, answer = error.status, server.failure(error)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - names that the base class looks up

    return Handler
