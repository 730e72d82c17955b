"""Reading the local manifest without parsing all of it: an index records where in the file each document is.

The manifest stays the one file that every program reads and writes whole. The index is rebuilt whenever the file is not
the one it was made from, in one pass that keeps no document.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from asynccache.catalog.index import CatalogIndex, Name, Summary
from asynccache.catalog.local import DEFAULT, SECTIONS, VERSION, Ids, Manifest, section_of
from asynccache.errors import DiskError, IntegrityError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node.json_text import read_json_at
from asynccache.node.kernel_lock import LocksUnsupportedError, take

T = TypeVar("T")
_DEFAULTS: Final = "default "  # section of the index, followed by the architecture
_LOOKS: Final = 20  # tries to read a file that is changed meanwhile
_SPACE: Final = re.compile(r"[ \t\n\r]*")


class IndexedManifest:
    """The manifest, for reading.

    Args:
        path: The file.
        index: Its index.
    """

    def __init__(self, path: Path, index: CatalogIndex) -> None:
        self.path = path
        self._index = index

    def get(self, env_id: EnvID) -> ResolvedEnvironment | None:
        """Return an environment, `_default` followed; None if it is not known.

        Raises:
            IntegrityError: Its document is malformed, or the file is damaged.
        """

        def read(file: int) -> ResolvedEnvironment | None:
            wanted = env_id
            if wanted.full_id == DEFAULT:
                name = self._index.name(_DEFAULTS + wanted.arch, wanted.req_id)
                if name is None:
                    return None
                wanted = EnvID(name.ids[0], name.ids[1], wanted.arch)
            found = self._index.environment(wanted)
            if found is None:
                return None
            return ResolvedEnvironment.from_json(wanted, os.pread(file, found.length, found.start))

        return self._reading(read, None)

    def resolve(self, alias: Alias) -> Ids | None:
        """Return what an alias refers to on this machine; None if unknown."""
        if alias.kind == "both-id":
            req_id, _, full_id = alias.stored.partition(":")
            return req_id, full_id
        name = self._reading(lambda _file: self._index.name(section_of(alias), alias.stored), None)
        return None if name is None else name.ids

    def summaries(self, arch: str | None = None) -> list[Summary]:
        """Return all environments in brief, of one architecture or of all."""
        return self._reading(lambda _file: self._index.environments(arch), [])

    def names(self) -> list[tuple[Alias, Ids]]:
        """Return all aliases and what they refer to, except those by full id."""
        kinds: dict[str, Any] = {SECTIONS["pathspec"]: "pathspec"}
        found = self._names()
        return [
            (Alias(kinds.get(n.section, "generic"), n.stored), n.ids)
            for n in found
            if not n.section.startswith(_DEFAULTS) and n.stored != n.ids[1]
        ]

    def known_names(self) -> set[str]:
        """Return the aliases in the notation of users."""
        return {str(alias) for alias, _ids in self.names() if alias.kind == "generic"}

    def defaults(self) -> set[EnvID]:
        """Return the environments that are the default for their request on this machine."""
        found = [n for n in self._names() if n.section.startswith(_DEFAULTS)]
        return {EnvID(n.ids[0], n.ids[1], n.section.removeprefix(_DEFAULTS)) for n in found}

    def _names(self) -> list[Name]:
        nothing: list[Name] = []
        return self._reading(lambda _file: self._index.names(), nothing)

    def _reading(self, read: Callable[[int], T], nothing: T) -> T:
        for _look in range(_LOOKS):
            with self._open() as file:
                if file is None:
                    return nothing
                version = _version(file)
                try:
                    if self._index.version() != version:
                        self._make(file, version)
                    found = read(file)
                except IntegrityError:
                    if _is_still(file, version):
                        raise
                    continue
                if _is_still(file, version):
                    return found
        raise DiskError(f"{self.path} is written to all the time", hint="try again")

    @contextmanager
    def _open(self) -> Iterator[int | None]:
        """Open the file as other readers do, with a shared lock; None if there is none."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        except OSError as exc:
            raise DiskError(f"{self.path} cannot be read ({exc.strerror})", hint="check its owner and mode") from exc
        with closing(os.fdopen(file, "rb")):
            # a writer changes the file only after it was replaced at its path, which is noticed: waiting would only
            # delay
            with suppress(LocksUnsupportedError):
                take(file, str(self.path), shared=True)
            yield file

    def _make(self, file: int, version: str) -> None:
        with open(file, "rb", closefd=False) as reader:
            reader.seek(0)
            data = reader.read()
        if not data.strip():
            self._index.replace(version, [], [])
            return
        environments: list[Summary] = []
        names: list[Name] = []
        try:
            _scan(data.decode("utf-8"), environments, names)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError) as exc:
            try:
                Manifest.from_json(data)
            except IntegrityError as error:
                raise IntegrityError(
                    f"{self.path}: {error}", hint="the next change keeps a copy and starts again"
                ) from exc
            raise IntegrityError(f"{self.path} is malformed ({exc})", hint="move it away and start again") from exc
        self._index.replace(version, environments, names)


def _version(file: int) -> str:
    status = os.fstat(file)
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _is_still(file: int, version: str) -> bool:
    """Return whether a file was not replaced while it was read; after that it may be written to."""
    return os.fstat(file).st_nlink > 0 and _version(file) == version


class _Scanner:
    """Walks through JSON text member by member; values that are not entered are decoded at once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._ascii = text.isascii()
        self._counted = (0, 0)  # characters, bytes

    def bytes_to(self, position: int) -> int:
        """Return how many bytes come before a character; positions must ascend."""
        if self._ascii:
            return position
        characters, size = self._counted
        size += len(self.text[characters:position].encode())
        self._counted = (position, size)
        return size

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; the value must be read before the next key."""
        self._expect("{")
        if self._peek() == "}":
            self.at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise TypeError("a key is not text")
            self._expect(":")
            yield key
            if self._peek() != ",":
                break
            self.at += 1
        self._expect("}")

    def value(self) -> Any:
        """Decode the value that begins here."""
        self._peek()
        decoded, self.at = read_json_at(self.text, self.at)
        return decoded

    def document(self) -> tuple[Any, int, int]:
        """Decode the value that begins here; return it with its first byte and its length in bytes."""
        self._peek()
        start = self.bytes_to(self.at)
        decoded = self.value()
        return decoded, start, self.bytes_to(self.at) - start

    def _peek(self) -> str:
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches nothing, too
        return self.text[self.at]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise ValueError(f"expected {character!r} at {self.at}")
        self.at += 1


def _scan(text: str, environments: list[Summary], names: list[Name]) -> None:
    scanner = _Scanner(text)
    version = None
    for key in scanner.members():
        if key == "environments":
            for arch in scanner.members():
                for req_id in scanner.members():
                    _request(scanner, arch, req_id, environments, names)
        elif key in SECTIONS.values():
            entries = scanner.value() or {}
            names += [Name(key, stored, (str(ids[0]), str(ids[1]))) for stored, ids in entries.items()]
        elif key == "version":
            version = str(scanner.value())
        else:
            scanner.value()
    if version != str(VERSION):
        raise ValueError("the manifest has another version")
    if text[scanner.at :].strip():
        raise ValueError("something follows the manifest")


def _request(scanner: _Scanner, arch: str, req_id: str, environments: list[Summary], names: list[Name]) -> None:
    for full_id in scanner.members():
        document, start, length = scanner.document()
        try:
            env_id = EnvID(req_id, str(document) if full_id == DEFAULT else full_id, arch)
        except UsageError:
            continue
        if full_id == DEFAULT:
            names.append(Name(_DEFAULTS + arch, req_id, (req_id, env_id.full_id)))
        else:
            environments.append(Summary.of(env_id, document, start=start, length=length))
