"""Walk through a tar archive without unpacking it: which bytes belong to which member.

The scanner is fed whatever a decompressor gives and says which stretches of it are headers, content, padding and end,
so that a caller can pass them on unchanged. Everything that a package archive may not hold is refused here.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from asynccache.archive.limits import Allowance, Limits, too_much
from asynccache.archive.member import Member, MemberType, shown
from asynccache.archive.root import Root, checked_path
from asynccache.archive.tar_header import (
    BLOCK,
    ZERO_BLOCK,
    RawHeader,
    gnu_name,
    gnu_real_size,
    padded,
    parse_header,
    parse_pax,
    pax_size,
    sparse_map,
)
from asynccache.errors import ArchiveError, HostileArchiveError

_TYPES: Final = {
    b"0": MemberType.FILE,
    b"\0": MemberType.FILE,  # before POSIX
    b"7": MemberType.FILE,  # contiguous: a file everywhere today
    b"1": MemberType.HARD_LINK,
    b"2": MemberType.SYMBOLIC_LINK,
    b"5": MemberType.DIRECTORY,
    b"S": MemberType.SPARSE_FILE,
}
_REFUSED: Final = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe"}
# attributes of one member make no sense for all that follow, and readers disagree on them
_NOT_GLOBAL: Final = (b"path", b"linkpath", b"size")
_CONTENT: Final = (MemberType.FILE, MemberType.SPARSE_FILE)


class Kind(Enum):
    """What a stretch of a tar archive is."""

    HEADER = 1  # of a member, extension blocks included
    CONTENT = 2  # of a member, padding included
    GLOBAL = 3  # a PAX header for all members that follow
    END = 4  # the zero blocks after the last member


class Piece(NamedTuple):
    """A stretch of the bytes at hand.

    Attributes:
        kind: What it is.
        start: Offset of its first byte.
        stop: Offset behind its last byte.
        member: Whose it is; None for `GLOBAL` and `END`.
    """

    kind: Kind
    start: int
    stop: int
    member: Member | None


class TarScanner:
    """Finds the members of one tar archive.

    Args:
        limits: Caps on headers.
        allowance: Counts members and their sizes.
        root: Where the members go; several archives that are unpacked to one place share it.
        name: What to call the archive in an error.
    """

    def __init__(self, limits: Limits, allowance: Allowance, root: Root, name: str) -> None:
        self._limits = limits
        self._allowance = allowance
        self._root = root
        self._name = name
        self._held = b""
        self._member: Member | None = None
        self._left = 0  # bytes of content and padding still to come
        self._end_blocks = 0
        self._after_globals = False
        self._global_bytes = 0
        self.globals: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> tuple[bytes, list[Piece]]:
        """Take the next bytes; return the bytes at hand and what they are.

        The bytes at hand begin with those of the last call that no piece covered.

        Raises:
            ArchiveError: This is not a tar archive, or a damaged one, or one that readers disagree on.
            HostileArchiveError: It holds what no package may hold.
        """
        buffer = self._held + data if self._held else data
        pieces: list[Piece] = []
        position, end = 0, len(buffer)
        while position < end:
            if self._left:
                stop = min(end, position + self._left)
                pieces.append(Piece(Kind.CONTENT, position, stop, self._member))
                self._left -= stop - position
            elif self._end_blocks:
                stop = self._end(buffer, position)
                if stop > position:
                    pieces.append(Piece(Kind.END, position, stop, None))
                else:
                    break
            else:
                piece = self._header(buffer, position)
                if piece is None:
                    break
                pieces.append(piece)
                stop = piece.stop
            position = stop
        self._held = buffer[position:]
        return buffer, pieces

    def close(self) -> None:
        """Say that there are no more bytes.

        Raises:
            ArchiveError: There should be.
        """
        if self._left and self._member is not None:
            raise self._truncated(f"{self._left} more bytes of {self._member.shown}")
        if self._held:
            raise self._truncated("whole blocks of 512 bytes")
        if not self._end_blocks:
            raise self._truncated("two zero blocks at its end")

    def _truncated(self, expected: str) -> ArchiveError:
        return ArchiveError(f"the tar archive in {self._name} ends too early", expected=expected, found="its end")

    def _end(self, buffer: bytes, position: int) -> int:
        stop = len(buffer) - (len(buffer) - position) % BLOCK
        if buffer.count(0, position, stop) != stop - position:
            raise ArchiveError(
                f"the tar archive in {self._name} continues past its end", expected="zeros", found="other bytes"
            )
        self._end_blocks += (stop - position) // BLOCK
        return stop

    def _header(self, buffer: bytes, start: int) -> Piece | None:
        """Read a member's headers; None when more bytes are needed."""
        position = start
        pax: dict[bytes, bytes] | None = None
        names: dict[bytes, bytes] = {}
        while True:
            stop = position + BLOCK
            if stop > len(buffer):
                return None
            if buffer.startswith(ZERO_BLOCK, position):
                if position != start or self._after_globals:
                    raise ArchiveError(
                        f"the tar archive in {self._name} ends in an extended header without its member",
                        hint="some readers refuse it; repack the archive",
                    )
                self._end_blocks = 1
                return Piece(Kind.END, start, stop, None)
            raw = parse_header(buffer, position)
            if raw.type not in b"xgLKX":
                break
            if raw.size < 0:
                raise ArchiveError(f"{self._name} has an extended header of a negative size", found=raw.size)
            if raw.size > self._limits.header_bytes:
                raise self._too_large("a large extended header", raw.size)
            position = stop + padded(raw.size)
            if position > len(buffer):
                return None
            data = buffer[stop : stop + raw.size]
            if raw.type == b"g":
                if pax is not None or names:
                    raise ArchiveError(f"{self._name} has a global PAX header between a member and its own headers")
                self._add_globals(parse_pax(data, self._limits.records), position - start)
                self._after_globals = True
                return Piece(Kind.GLOBAL, start, position, None)
            if raw.type in {b"L", b"K"} and raw.type not in names and pax is None:
                names[raw.type] = gnu_name(data, buffer[stop + raw.size : position])
            elif raw.type == b"x" and pax is None and not names:
                pax = parse_pax(data, self._limits.records)
            else:
                raise ArchiveError(
                    f"{self._name} has several extended headers of one kind, or of two kinds, for one member",
                    expected="PAX or GNU headers, one of each type",
                    hint="readers disagree on which one counts; repack the archive",
                )
        if raw.type == b"S":
            real_size = gnu_real_size(buffer, position)
            extended = buffer[position + 482]
            while extended:
                stop += BLOCK
                if stop > len(buffer):
                    if stop - position > self._limits.header_bytes:
                        raise self._too_large("a large sparse map")
                    return None
                extended = buffer[stop - 8]
            stretches = sparse_map(buffer, position, stop, raw.size, real_size)
        else:
            real_size, stretches = None, ()
        self._after_globals = False
        self._member = member = self._read_member(raw, pax or {}, names, real_size, stretches)
        self._left = padded(member.size)
        return Piece(Kind.HEADER, start, stop, member)

    def _too_large(self, what: str, found: int | None = None) -> HostileArchiveError:
        return too_much(f"{self._name} has {what}", f"{self._limits.header_bytes} bytes", found)

    def _add_globals(self, records: dict[bytes, bytes], length: int) -> None:
        self._allowance.records(len(records))
        self._global_bytes += length
        if self._global_bytes > self._limits.header_bytes:
            raise self._too_large("large global PAX headers")
        for key in records:
            if key.startswith(_NOT_GLOBAL):
                raise ArchiveError(
                    f"{self._name} has a global PAX header that sets {shown(key)} of every member",
                    hint="readers disagree on it; repack the archive",
                )
        # a new one: members keep the one that applied to them
        if not records.items() <= self.globals.items():
            self.globals = {**self.globals, **records}
        if len(self.globals) > self._limits.records:
            raise too_much(f"{self._name} has too many global PAX records", self._limits.records)

    def _read_member(
        self,
        raw: RawHeader,
        pax: dict[bytes, bytes],
        names: dict[bytes, bytes],
        real_size: int | None,
        stretches: tuple[tuple[int, int], ...],
    ) -> Member:
        name = pax.get(b"path") or names.get(b"L") or raw.name
        linkname = pax.get(b"linkpath") or names.get(b"K") or raw.linkname
        kind = self._type(raw.type, name)
        size = pax_size(pax[b"size"], "size") if b"size" in pax else raw.size
        if real_size is not None and b"size" in pax:
            raise ArchiveError(
                f"the sparse file {shown(name)} has a PAX record of its size",
                hint="readers disagree whether its holes are part of it; repack the archive",
            )
        if size < 0:
            raise ArchiveError(f"{shown(name)} has a negative size", found=size)
        if kind not in _CONTENT:
            if size:
                raise ArchiveError(
                    f"{shown(name)} is no file but has a size", found=size, hint="readers disagree on what follows it"
                )
        elif name.endswith(b"/"):
            # before POSIX a directory was a file whose name ended in a slash
            raise ArchiveError(f"{shown(name)} is a file by its type and a directory by its name")
        mtime = pax.get(b"mtime", self.globals.get(b"mtime"))
        member = Member(
            name=name,
            path=checked_path(name),
            type=kind,
            mode=raw.mode,
            uid=raw.uid,
            gid=raw.gid,
            size=size,
            real_size=size if real_size is None else real_size,
            mtime=raw.mtime if mtime is None else float(mtime),
            linkname=linkname if kind in {MemberType.HARD_LINK, MemberType.SYMBOLIC_LINK} else b"",
            pax=pax,
            globals=self.globals,
            stretches=stretches,
        )
        self._allowance.records(len(pax))
        self._allowance.member(max(member.size, member.real_size))
        self._root.add(member)
        return member

    def _type(self, flag: bytes, name: bytes) -> MemberType:
        kind = _TYPES.get(flag)
        if kind is not None:
            return kind
        if flag in _REFUSED:
            raise HostileArchiveError(f"the member {shown(name)} is {_REFUSED[flag]}", expected="files and links")
        raise ArchiveError(f"the member {shown(name)} has an unknown type", found=repr(flag))
