"""The receipt of a transmutation: what was made from what, how, and whether it was verified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asynccache import __version__
from asynccache.errors import ArchiveError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.document import document
from asynccache.model.package import Format
from asynccache.node.json_text import read_json

DOCUMENT_VERSION: Final = 1
TOOL: Final = f"asynccache {__version__}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `transmute` did.

    Attributes:
        source: Size and digests of the archive that was read.
        source_format: Its format.
        derived: Size, md5 and sha256 of the archive that was written.
        derived_format: Its format.
        level: zstd level for `.conda`, bzip2 level for `.tar.bz2`.
        tool: Name and version of this software.
        backends: Libraries that took part with their versions, for example `libzstd 1.5.7`.
        members: How many members there are.
        unpacked_bytes: Bytes of the members' contents together.
        verified: Whether the derived archive was compared with its source.
    """

    source: Digests
    source_format: Format
    derived: Digests
    derived_format: Format
    level: int
    tool: str
    backends: tuple[str, ...]
    members: int
    unpacked_bytes: int
    verified: bool

    def as_document(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "version": DOCUMENT_VERSION,
            "source": {"format": str(self.source_format), **_digests_document(self.source)},
            "derived": {"format": str(self.derived_format), **_digests_document(self.derived)},
            **document(self, "level", "tool", "backends", "members", "unpacked_bytes", "verified"),
        }

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Receipt:
        """Read what `as_document` gave.

        Raises:
            ArchiveError: This is not a receipt, or one of a later version.
        """
        try:
            if said["version"] != DOCUMENT_VERSION:
                raise ArchiveError(
                    "a receipt has an unknown version", expected=DOCUMENT_VERSION, found=repr(said["version"])
                )
            source, derived = said["source"], said["derived"]
            return cls(
                source=_digests(source),
                source_format=Format(source["format"]),
                derived=_digests(derived),
                derived_format=Format(derived["format"]),
                level=int(said["level"]),
                tool=str(said["tool"]),
                backends=tuple(str(name) for name in said["backends"]),
                members=int(said["members"]),
                unpacked_bytes=int(said["unpacked_bytes"]),
                verified=said["verified"] is True,
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as exc:
            raise ArchiveError(f"a receipt is malformed ({type(exc).__name__}: {exc})") from exc

    def to_json(self) -> bytes:
        """Return the document as JSON, UTF-8."""
        return json.dumps(self.as_document(), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Receipt:
        """Read what `to_json` gave.

        Raises:
            ArchiveError: This is not a receipt, or one of a later version.
        """
        try:
            return cls.from_document(read_json(data))
        except ValueError as exc:
            raise ArchiveError(f"a receipt is not JSON ({exc})") from exc


def _digests_document(digests: Digests) -> dict[str, object]:
    parts = {"size": digests.size, "md5": digests.md5, "sha256": digests.sha256}
    return {name: value for name, value in parts.items() if value is not None}


def _digests(document: Mapping[str, Any]) -> Digests:
    return Digests(md5=document.get("md5"), sha256=document.get("sha256"), size=int(document["size"]))
