"""An archive in a store, as its key and a listing describe it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.document import Documented
from asynccache.model.package import KEY_ALGORITHM, Format, Kind
from asynccache.store import layout
from asynccache.store.base import ObjectInfo


@dataclass(frozen=True, slots=True)
class StoredArchive(Documented):
    """One archive in the store.

    Attributes:
        info: Key, size, version and age; a size of 0 means that only the key is known.
        parts: What the key says.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "kind", "format", "transmuted", "hash", "stem as package", "url", "modified_at as modified", "key",
        "size as bytes",
    )  # fmt: skip

    info: ObjectInfo
    parts: layout.KeyParts

    @classmethod
    def listed(cls, info: ObjectInfo, dirname: str = layout.DIRNAME) -> StoredArchive | None:
        """Return an object of a listing as an archive; None if it is not one.

        Empty objects do not count: a local root has them after another reader has moved its archives away (contract,
        section 3.5).
        """
        parts = layout.parse_key(info.key, dirname) if info.size else None
        return None if parts is None else cls(info, parts)

    @classmethod
    def recorded(cls, info: ObjectInfo, stem: str, fmt: Format, dirname: str = layout.DIRNAME) -> StoredArchive:
        """Return the archive that a document names by its key, such as those of very old caches.

        Args:
            info: Its key, and what else is known.
            stem: File name without extension.
            fmt: Its format.
            dirname: Directory of the packages.
        """
        parts = layout.parse_key(info.key, dirname)
        if parts is None:
            digest = info.key.split("/")[-2] if info.key.count("/") > 1 else ""
            parts = layout.KeyParts(fmt.kind, "", "", "", stem, fmt, digest)
        return cls(info, parts)

    @property
    def key(self) -> str:
        """Its key."""
        return self.info.key

    @property
    def size(self) -> int:
        """Size in bytes; 0 if unknown."""
        return self.info.size

    @property
    def stem(self) -> str:
        """File name without extension."""
        return self.parts.stem

    @property
    def format(self) -> Format:
        """Its format."""
        return self.parts.format

    @property
    def filename(self) -> str:
        """File name."""
        return self.parts.filename

    @property
    def hash(self) -> str:
        """md5 (conda) or sha256 (PyPI) of its bytes, as the key says."""
        return self.parts.hash

    @property
    def digests(self) -> Digests:
        """The digest in its key; none if the key has an unknown layout."""
        try:
            return Digests.of(KEY_ALGORITHM[self.parts.kind], self.parts.hash)
        except UsageError:
            return Digests()

    @property
    def version(self) -> str:
        """Text that changes with the object, to remember that it was verified."""
        return f"{self.info.size}:{self.info.etag or self.info.modified}"

    @property
    def kind(self) -> Kind:
        """`conda` or `pypi`."""
        return self.parts.kind

    @property
    def transmuted(self) -> bool:
        """Whether it is a conda package in another format than the published one."""
        return self.parts.transmuted

    @property
    def url(self) -> str:
        """Where it is published; always with `https`, since a key does not keep the scheme."""
        return self.parts.source_url

    @property
    def modified_at(self) -> datetime | None:
        """When it was written; None if the store does not say."""
        return None if self.info.modified is None else datetime.fromtimestamp(self.info.modified, UTC)
