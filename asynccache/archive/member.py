"""A member of a package archive, as its headers give it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from asynccache.model.dataclass import dataclass


class MemberType(Enum):
    """What a member is; the values are the type flags of tar headers."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMBOLIC_LINK = b"2"
    DIRECTORY = b"5"
    SPARSE_FILE = b"S"


class Component(Enum):
    """The two inner archives of a `.conda` file; the values start their names."""

    INFO = "info"
    PKG = "pkg"


@dataclass(frozen=True, slots=True)
class Member:
    """One member.

    Attributes:
        name: As stored, extensions applied; any bytes but NUL.
        path: The name without empty and `.` segments: where the member is below the root.
        type: What it is.
        mode: Permission bits.
        uid: Owner's number.
        gid: Group's number.
        size: Bytes of content as stored.
        real_size: Bytes of content with the holes of a sparse file.
        mtime: Seconds since the epoch.
        linkname: Target of a link as stored, empty for anything else.
        pax: PAX records of its own.
        globals: Global PAX records that apply; shared by all members that they apply to.
        stretches: Of a sparse file: (offset in it, bytes) of each stretch of the content as stored.
    """

    name: bytes
    path: bytes
    type: MemberType
    mode: int
    uid: int
    gid: int
    size: int
    real_size: int
    mtime: float
    linkname: bytes
    pax: Mapping[bytes, bytes]
    globals: Mapping[bytes, bytes]
    stretches: tuple[tuple[int, int], ...] = ()

    @property
    def component(self) -> Component:
        """Where it belongs in a `.conda` file."""
        return component_of(self.path)

    @property
    def shown(self) -> str:
        """The name as text for messages."""
        return shown(self.name)


def component_of(path: bytes) -> Component:
    """Return the archive that a path belongs to: everything under `info/` goes to the info archive (CEP 35)."""
    return Component.INFO if path == b"info" or path.startswith(b"info/") else Component.PKG


def shown(name: bytes) -> str:
    """Return a name as text for messages; bytes that are not UTF-8 are escaped."""
    return repr(name.decode("utf-8", "backslashreplace"))
