"""A PyPI on this machine: an index of wheels and sdists that are written in code, with faults on demand."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import sys
import tarfile
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

_JSON: Final = "application/vnd.pypi.simple.v1+json"
# A backend that needs nothing from any index: it is in the source tree itself.
BACKEND: Final = """
import base64, hashlib, os, sys, zipfile

NAME, VERSION, REQUIRES, TAG = {name!r}, {version!r}, {requires!r}, {tag!r}
STEM = NAME.replace("-", "_")
INFO = STEM + "-" + VERSION + ".dist-info"


def get_requires_for_build_wheel(config_settings=None):
    return []


def _metadata():
    rows = ["Metadata-Version: 2.1", "Name: " + NAME, "Version: " + VERSION]
    return "\\n".join(rows + ["Requires-Dist: " + r for r in REQUIRES]) + "\\n"


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    os.makedirs(os.path.join(directory, INFO))
    with open(os.path.join(directory, INFO, "METADATA"), "w") as file:
        file.write(_metadata())
    with open(os.path.join(directory, INFO, "WHEEL"), "w") as file:
        file.write("Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: " + TAG + "\\n")
    return INFO


def build_wheel(directory, config_settings=None, metadata_directory=None):
    {before}
    filename = STEM + "-" + VERSION + "-" + TAG + ".whl"
    files = {{
        STEM + ".py": "BUILT_WITH = %r\\n" % (sys.version_info[:2],),
        INFO + "/METADATA": _metadata(),
        INFO + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: " + TAG + "\\n",
    }}
    record = ""
    with zipfile.ZipFile(os.path.join(directory, filename), "w") as archive:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += "%s,sha256=%s,%d\\n" % (path, digest, len(text.encode()))
            archive.writestr(path, text)
        archive.writestr(INFO + "/RECORD", record + INFO + "/RECORD,,\\n")
    return filename
"""


def write_distribution(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
    requires_python: str | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel with dependencies into a directory and return its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    rows = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    rows += [f"Requires-Python: {requires_python}"] if requires_python else []
    rows += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, needed in (extras or {}).items():
        rows.append(f"Provides-Extra: {extra}")
        rows += [f"Requires-Dist: {requirement}; extra == '{extra}'" for requirement in needed]
    files = {
        f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n",
        f"{stem}.dist-info/METADATA": "\n".join(rows) + "\n",
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},{_digest(text.encode())},{len(text)}\n" for path, text in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in files.items():
            archive.writestr(zipfile.ZipInfo(member, (2024, 1, 1, 0, 0, 0)), text)
    return path


def write_source_tree(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    before_build: str = "pass",
) -> Path:
    """Write a project that builds without anything from an index into a new directory and return it.

    Args:
        directory: Made.
        name: Of the project.
        version: Of the project.
        requires: What it depends on; known only to its build backend.
        tag: Of the wheel that it builds.
        before_build: A statement that the backend runs when it builds.
    """
    directory.mkdir(parents=True)
    (directory / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n[project]\n'
        f'name = "{name}"\ndynamic = ["version", "dependencies"]\n',
        "utf-8",
    )
    text = BACKEND.format(name=name, version=version, requires=list(requires), tag=tag, before=before_build)
    (directory / "backend.py").write_text(text, "utf-8")
    return directory


def write_sdist(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    fmt: str = ".tar.gz",
    **tree: str,
) -> Path:
    """Write an sdist of such a project, `.tar.gz` or `.zip`, and return its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    source = write_source_tree(directory / f".{stem}" / stem, name, version, requires=requires, **tree)
    (source / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    path = directory / f"{stem}{fmt}"
    if fmt == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for file in sorted(source.iterdir()):
                zipped.writestr(zipfile.ZipInfo(f"{stem}/{file.name}", (2024, 1, 1, 0, 0, 0)), file.read_bytes())
        return path
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(source.iterdir()):
            info = tarfile.TarInfo(f"{stem}/{file.name}")
            data = file.read_bytes()
            info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o644
            archive.addfile(info, io.BytesIO(data))
    return path


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        # a client that was killed has no use for its answer
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@dataclass
class PyPIIndex:
    """Serves a directory of archives by the simple API on 127.0.0.1; use as a context manager.

    Attributes:
        directory: Where the archives are; what is written there later is served, too.
        json_api: Answer with the JSON form to who accepts it, else HTML.
        login: (user, password) that is asked for; None for nobody's.
        status: Answer all requests with this status; 0 for none.
        delay: Seconds before each answer.
        algorithm: Of the digests that it says; empty for none.
        uploaded: File name -> when it was published; only the JSON form says it.
        yanked: File name -> why it was yanked.
        requests: Paths asked for so far.
        refused: How many requests had no or the wrong login.
    """

    directory: Path
    json_api: bool = True
    login: tuple[str, str] | None = None
    status: int = 0
    delay: float = 0.0
    algorithm: str = "sha256"
    uploaded: dict[str, datetime] = field(default_factory=dict)
    yanked: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refused: int = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.answer(self)

            def do_HEAD(self) -> None:
                index.answer(self)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass

        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The simple API."""
        return f"http://{self.host}/simple"

    def file_url(self, filename: str) -> str:
        """Where an archive is."""
        return f"http://{self.host}/files/{filename}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = unquote(request.path.partition("?")[0])
        self.requests.append(path)
        self._closing.wait(self.delay)
        status, kind, body = self._body(path, request.headers.get("Accept", ""), request.headers.get("Authorization"))
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        if status == 401:
            request.send_header("WWW-Authenticate", 'Basic realm="index"')
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def _body(self, path: str, accept: str, authorization: str | None) -> tuple[int, str, bytes]:
        if self.status:
            return self.status, "text/plain", b"no"
        if self.login is not None:
            expected = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
            if authorization != expected:
                self.refused += 1
                return 401, "text/plain", b"who?"
        section, _, rest = path.strip("/").partition("/")
        if section == "files" and rest:
            file = self.directory / Path(rest).name
            if file.is_file():
                return 200, "application/octet-stream", file.read_bytes()
        elif section == "simple" and rest and (files := self._files(rest.strip("/"))):
            if self.json_api and _JSON in accept:
                return 200, _JSON, self._json(rest.strip("/"), files)
            return 200, "text/html", self._html(files)
        return 404, "text/plain", b"none"

    def _files(self, project: str) -> list[Path]:
        return [
            path
            for path in sorted(self.directory.iterdir())
            if path.is_file() and _normal(_project(path.name)) == _normal(project)
        ]

    def _json(self, project: str, files: Sequence[Path]) -> bytes:
        rows = []
        for path in files:
            data = path.read_bytes()
            row: dict[str, object] = {
                "filename": path.name,
                "url": self.file_url(path.name),
                "hashes": {self.algorithm: _hex(self.algorithm, data)} if self.algorithm else {},
                "size": len(data),
            }
            if requires := _requires_python(path):
                row["requires-python"] = requires
            if path.name in self.yanked:
                row["yanked"] = self.yanked[path.name]
            if path.name in self.uploaded:
                row["upload-time"] = self.uploaded[path.name].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            rows.append(row)
        return json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": rows, "versions": []}).encode()

    def _html(self, files: Sequence[Path]) -> bytes:
        rows = []
        for path in files:
            digest = f"#{self.algorithm}={_hex(self.algorithm, path.read_bytes())}" if self.algorithm else ""
            requires = _requires_python(path)
            more = f' data-requires-python="{html.escape(requires)}"' if requires else ""
            rows.append(f'<a href="{self.file_url(path.name)}{digest}"{more}>{path.name}</a><br>')
        return ("<!DOCTYPE html><html><body>" + "\n".join(rows) + "</body></html>").encode()


def _hex(algorithm: str, data: bytes) -> str:
    return hashlib.new(algorithm, data).hexdigest()


def _project(filename: str) -> str:
    stem = filename.removesuffix(".tar.gz").removesuffix(".zip").removesuffix(".whl")
    return stem.split("-")[0] if filename.endswith(".whl") else stem.rpartition("-")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requires_python(path: Path) -> str | None:
    if path.suffix != ".whl":
        return None
    with zipfile.ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        found = re.search(r"^Requires-Python: (.*)$", archive.read(member).decode(), re.MULTILINE)
    return found[1] if found else None
