"""The local manifest: the environments and aliases that this machine knows (contract, section 2.3).

One JSON file, shared with other programs that read and write it whole. An update takes the file's kernel lock, makes
sure that the locked file is still the one at the path (a rename by another writer replaces it), reads, changes, writes
a temporary file and renames it. Other writers do not check the path: one that waited for the lock of a replaced file
reads that file and puts it, with its own change, at the path. So the new content is also written into the replaced file
before its lock is released; and if another process has written lately, the update is read back when no process has a
replaced file open any more, and repeated if it was overwritten. If the file system has no kernel locks, a lock file
beside it serialises the writers of this program. All functions block: call them in a thread.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from asynccache.errors import IntegrityError, LockTimeoutError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.node.kernel_lock import LocksUnsupportedError, give_back, take_at, wait
from asynccache.node.lock_file import lock_file
from asynccache.node.open_files import replaced_is_open

VERSION: Final = 1
DEFAULT: Final = "_default"
_LEFT: Final = 3600.0  # seconds after which a temporary file beside the manifest is a killed writer's
_REPEATS: Final = 20  # times an overwritten update is repeated
_LATELY: Final = 10.0  # seconds within which a writer that read a file before it was replaced writes it back
_SETTLE: Final = 5.0  # most seconds to wait until no process has a replaced file open
_BLIND: Final = 0.5  # seconds to wait if that cannot be detected
SECTIONS: Final[Mapping[str, str]] = {"pathspec": "mappings", "mutable": "mutable_aliases", "immutable": "aliases"}
Ids = tuple[str, str]


def section_of(alias: Alias) -> str:
    """Return the manifest's section for an alias."""
    if alias.kind == "pathspec":
        return SECTIONS["pathspec"]
    return SECTIONS["mutable" if alias.mutable else "immutable"]


@dataclass(slots=True)
class Manifest:
    """The content of the file. Documents are kept as they were read and parsed only on demand.

    Attributes:
        aliases: Section -> stored archive -> (req_id, full_id).
        environments: Architecture -> req_id -> full_id -> document; `_default` -> full_id.
    """

    aliases: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {s: {} for s in SECTIONS.values()})
    environments: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read the file's content; nothing at all is an empty manifest.

        Raises:
            IntegrityError: It is not a manifest of this version.
        """
        if not data.strip():
            return cls()
        try:
            document = read_json(data)
            if str(document["version"]) != str(VERSION):
                raise IntegrityError("the manifest has another version", expected=VERSION, found=document["version"])
            aliases = {name: dict(document.get(name) or {}) for name in SECTIONS.values()}
            environments = {
                str(arch): {str(req): dict(found) for req, found in requests.items()}
                for arch, requests in document.get("environments", {}).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise IntegrityError(f"the manifest is malformed ({type(exc).__name__}: {exc})") from exc
        return cls(aliases, environments)

    def to_json(self) -> bytes:
        """Return the file's content, keys in the order in which they are written."""
        document = {"version": VERSION, **self.aliases, "environments": self.environments}
        return json.dumps(document).encode("ascii")

    def add(self, environment: ResolvedEnvironment, *, default: bool = False) -> None:
        """Add an environment and its alias by full id, which the first request keeps.

        An entry with the same content is kept as another program wrote it, byte for byte.
        """
        env_id = environment.id
        known = self.environments.setdefault(env_id.arch, {}).setdefault(env_id.req_id, {})
        document = environment.as_document()
        if _as_we_write_it(env_id, known.get(env_id.full_id)) != document:
            known[env_id.full_id] = document
        if default:
            known[DEFAULT] = env_id.full_id
        self.aliases[SECTIONS["immutable"]].setdefault(env_id.full_id, [env_id.req_id, env_id.full_id])

    def assign(self, alias: Alias, ids: Ids) -> None:
        """Record what an alias refers to in the store."""
        self.aliases[section_of(alias)][alias.stored] = list(ids)


class LocalManifest:
    """The file.

    Args:
        path: `<local datastore root>/conda_v2.cnd`.
        lock_timeout: Seconds to wait for another writer.
        say: Called with a sentence when a damaged file was quarantined.
    """

    def __init__(self, path: Path, lock_timeout: float = 3600.0, say: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._lock_timeout = lock_timeout
        self._say = say or (lambda _text: None)
        self._own = (0, 0)  # the file that this process wrote last: inode, time

    def update(self, change: Callable[[Manifest], None]) -> Manifest:
        """Change the content; return the content afterwards.

        Args:
            change: Called with the current content, possibly more than once; must have the same effect each time.

        Raises:
            LockTimeoutError: Another process has been holding the file for too long.
            DiskError: It cannot be written.
        """
        for _ in range(_REPEATS):
            with self._locked() as (file, data):
                others = self._written_lately(file)
                try:
                    manifest = Manifest.from_json(data)
                except IntegrityError as exc:
                    self._keep_damaged(data, exc)
                    manifest = Manifest()
                change(manifest)
                wanted = manifest.to_json()
                if wanted == data:
                    return manifest
                self._replace(wanted)
                _rewrite(file, wanted)
            if others:
                self._settle()
            after = self._content()
            if after == wanted:
                return manifest
            # another process wrote since: its content must still include our change
            later = Manifest.from_json(after)
            before = later.to_json()
            change(later)
            if later.to_json() == before:
                return later
        raise LockTimeoutError(
            f"{self.path} was overwritten {_REPEATS} times by another program", hint="end that program and try again"
        )

    @contextmanager
    def _locked(self) -> Iterator[tuple[int, bytes]]:
        path = str(self.path)
        with ExitStack() as stack:
            try:
                file = wait(lambda: take_at(path, self._open), self._lock_timeout)
            except LocksUnsupportedError:
                with disk_errors(self.path):
                    stack.enter_context(lock_file(f"{path}.lock", self._lock_timeout))
                file = self._open()
            if file is None:
                raise LockTimeoutError(
                    f"{self.path} was locked by another process for {self._lock_timeout:g} seconds",
                    hint="let it finish, or raise lock_timeout",
                )
            stack.callback(give_back, file)
            with os.fdopen(file, "rb", closefd=False) as reader:
                data = reader.read()
            yield file, data

    def _written_lately(self, file: int) -> bool:
        """Return whether another process may have read an earlier version of the file, and not have written yet."""
        status = os.fstat(file)
        own = (status.st_ino, status.st_mtime_ns) == self._own
        return not own and abs(time.time() - status.st_mtime) < _LATELY

    def _settle(self) -> None:
        """Wait until no other process has a file open that was at the path before."""
        end = time.monotonic() + _SETTLE
        while (held := replaced_is_open(str(self.path.absolute()))) and time.monotonic() < end:
            time.sleep(0.01)
        if held is None:
            time.sleep(_BLIND)

    def _open(self) -> int:
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _replace(self, data: bytes) -> None:
        self._sweep()
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.{time.time_ns()}.tmp")
        with disk_errors(self.path):
            try:
                mode = self.path.stat().st_mode & 0o777
                file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
                with os.fdopen(file, "wb") as writer:
                    writer.write(data)
                    writer.flush()
                    os.fsync(file)
                    status = os.fstat(file)
                    self._own = (status.st_ino, status.st_mtime_ns)
                temporary.replace(self.path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def _sweep(self) -> None:
        """Remove what killed writers of this program left; the lock does not show it, as other programs replace the
        file.
        """
        left = re.compile(re.escape(self.path.name) + r"\.\d+\.\d+\.tmp")
        with suppress(OSError):
            for entry in filter(left.fullmatch, os.listdir(self.path.parent)):  # noqa: PTH208 - only names
                path = self.path.with_name(entry)
                if time.time() - path.stat().st_mtime > _LEFT:
                    path.unlink(missing_ok=True)

    def _content(self) -> bytes:
        """Read the file that is at the path; one that was replaced meanwhile may have been written into."""
        while True:
            try:
                with self.path.open("rb") as reader:
                    data = reader.read()
                    if os.fstat(reader.fileno()).st_nlink:
                        return data
            except FileNotFoundError:
                return b""

    def _keep_damaged(self, data: bytes, error: IntegrityError) -> None:
        kept = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        with disk_errors(kept):
            kept.write_bytes(data)
        self._say(f"{self.path} was damaged ({error}); it is kept as {kept} and started again")


def _as_we_write_it(env_id: EnvID, entry: object) -> dict[str, Any] | None:
    """Return what this program would write in place of an entry; None if that is not a document."""
    try:
        return ResolvedEnvironment.from_document(env_id, entry).as_document()
    except UsageError:
        return None


def _rewrite(file: int, data: bytes) -> None:
    """Write into a file that is no longer at any path; only processes that have it open read it."""
    with suppress(OSError):
        # blanks fill it if it was longer: truncating would be a second step, between which the process may be killed
        os.pwrite(file, data.ljust(os.fstat(file).st_size), 0)
