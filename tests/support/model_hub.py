"""A hub of models on 127.0.0.1 that speaks what huggingface_hub asks of one: model information, file lists, files.

    with ModelHub() as hub:
        hub.publish("team/tiny", {"config.json": b"{}", "weights.bin": b"..."}, large={"weights.bin"}, token="hf_x")
        ...  # hub.url, hub.requests

It lies on demand: `damage` serves other bytes than it names the digest of, `stall` stops in the middle of a file.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(slots=True)
class Commit:
    """The files of a repository at one moment."""

    files: Mapping[str, bytes]
    large: AbstractSet[str]

    @property
    def sha(self) -> str:
        """Its name."""
        state = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            state.update(name.encode() + b"\0" + content)
        return state.hexdigest()

    def listed(self, name: str) -> dict[str, Any]:
        """What a list of files says of one."""
        content = self.files[name]
        pointer = f"version 1\noid sha256:{hashlib.sha256(content).hexdigest()}\n".encode()
        stored = pointer if name in self.large else content
        entry: dict[str, Any] = {
            "size": len(content),
            "oid": hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest(),
        }
        if name in self.large:
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"size": len(content), "sha256": sha256, "oid": sha256, "pointerSize": len(pointer)}
        return entry


@dataclass(slots=True)
class Repository:
    """A repository: its commits by name, branches among the names."""

    token: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: what was asked, and with which token."""

    method: str
    path: str
    token: str | None


class ModelHub:
    """A hub; enter it to start it.

    Attributes:
        requests: What was asked, in order.
        damage: Names of files that are served with other bytes; a name is taken out when it was served so often.
        stall: Names of files that stop after their first half.
    """

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self.damage: dict[str, int] = {}
        self.stall: set[str] = set()
        self.repositories: dict[str, Repository] = {}
        self._stopping = threading.Event()
        hub = self

        class Handler(_Handler):
            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(
        self,
        repo: str,
        files: Mapping[str, bytes],
        *,
        branch: str = "main",
        large: AbstractSet[str] = frozenset(),
        token: str | None = None,
    ) -> str:
        """Let a branch have these files from now on; return the commit.

        Args:
            repo: Such as `team/tiny`.
            files: Path -> content.
            branch: Or a tag.
            large: Which are in large file storage, whose digests are SHA-256.
            token: Without it nobody sees the repository.
        """
        commit = Commit(dict(files), set(large))
        repository = self.repositories.setdefault(repo, Repository())
        repository.token = token
        repository.commits[branch] = repository.commits[commit.sha] = commit
        return commit.sha

    def downloads(self, name: str) -> int:
        """Return how often a file was asked for."""
        return sum(each.method == "GET" and each.path.endswith(f"/{name}") for each in self.requests)

    def wait(self) -> None:
        """Wait as a hub that has stopped answering does."""
        self._stopping.wait()


class _Handler(BaseHTTPRequestHandler):
    served: ModelHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        address = urlsplit(self.path)
        words = address.path.strip("/").split("/")
        kind, _space, token = self.headers.get("Authorization", "").partition(" ")
        token_sent = token if kind == "Bearer" else None
        self.served.requests.append(Asked(self.command, address.path, token_sent))
        if words[:2] == ["api", "models"]:
            repo, what, revision = "/".join(words[2:4]), words[4], unquote(words[5])
        else:
            repo, what, revision = "/".join(words[:2]), words[2], unquote(words[3])
        repository = self.served.repositories.get(repo)
        if repository is None or (repository.token is not None and repository.token != token_sent):
            # a careless hub, which repeats what it was sent
            self._refuse(401, "RepoNotFound", f"Invalid username or password, or bad token {token_sent}.")
            return
        commit = repository.commits.get(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif what == "revision":
            self._send_json(_information(repo, commit, blobs="blobs" in parse_qs(address.query)), body=body)
        elif what == "tree":
            self._send_json([{"type": "file", "path": name, **commit.listed(name)} for name in commit.files], body=body)
        else:
            self._send_file(commit, unquote("/".join(words[4:])), body=body)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._head(status, {"X-Error-Code": code, "X-Error-Message": message, "Content-Length": "0"})

    def _send_json(self, value: Any, *, body: bool) -> None:
        data = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        if body:
            self.wfile.write(data)

    def _send_file(self, commit: Commit, name: str, *, body: bool) -> None:
        if name not in commit.files:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        content, entry = commit.files[name], commit.listed(name)
        etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["oid"]
        start = int(self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")[0])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit.sha, "Content-Length": str(len(content) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, headers)
        if not body:
            return
        if self.served.damage.get(name, 0) > 0:
            self.served.damage[name] -= 1
            content = bytes(len(content))
        half = start + (len(content) - start) // 2
        self.wfile.write(content[start:half])
        if name in self.served.stall:
            self.wfile.flush()
            self.served.wait()
            self.close_connection = True
            return
        self.wfile.write(content[half:])

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _information(repo: str, commit: Commit, *, blobs: bool) -> dict[str, Any]:
    siblings = []
    for name in commit.files:
        sibling: dict[str, Any] = {"rfilename": name}
        if blobs:
            entry = commit.listed(name)
            sibling |= {"size": entry["size"], "blobId": entry["oid"]}
            if "lfs" in entry:
                sibling["lfs"] = entry["lfs"]
        siblings.append(sibling)
    return {
        "_id": "0",
        "id": repo,
        "modelId": repo,
        "author": repo.split("/", maxsplit=1)[0],
        "sha": commit.sha,
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "spaces": [],
        "siblings": siblings,
        "createdAt": "2024-01-01T00:00:00.000Z",
        "lastModified": "2024-01-01T00:00:00.000Z",
    }
