"""A directory served on 127.0.0.1 as it is, as a host of repositories by git's plain HTTP protocol is."""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@contextmanager
def serve_files(
    directory: Path, *, token: str = "", query: str = "", context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve a directory; yields host and port.

    Args:
        directory: What is served.
        token: Asked for in every path, as conda writes it: `/t/TOKEN/...`.
        query: Asked for with every wheel, as a signature is.
        context: Of a certificate, to serve by https.
    """
    handler = functools.partial(_Quiet, directory=str(directory), token=token, query=query)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Quiet(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, token: str, query: str, **named: Any) -> None:
        self._prefix, self._query = f"/t/{token}" if token else "", query
        super().__init__(*args, **named)

    def send_head(self) -> Any:
        path, _, query = self.path.partition("?")
        if not path.startswith(self._prefix) or (path.endswith(".whl") and query != self._query):
            return self.send_error(403)
        self.path = path[len(self._prefix) :]
        return super().send_head()

    def log_message(self, *args: object) -> None:
        pass
