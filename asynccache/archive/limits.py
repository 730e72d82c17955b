"""How much an archive may ask of this machine before it is refused as hostile."""

from __future__ import annotations

from asynccache.config import Settings
from asynccache.errors import HostileArchiveError
from asynccache.model.dataclass import dataclass

_MIB = 1 << 20
_GIB = 1 << 30
_FREE_RECORDS = 5000  # PAX records that an archive may have, and so many more for each of its members:
_RECORDS_A_MEMBER = 30  # one takes some 2 microseconds, a member 50


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what reading an archive may cost, in memory some 100 MiB and the declared zstd window.

    Attributes:
        unpacked_bytes: Bytes of all members together, holes of sparse files included. The largest published conda
            packages (CUDA libraries, machine learning frameworks) unpack to some 10 GiB; the default leaves room.
        ratio: Unpacked bytes for each byte of archive. Source code reaches 12, a package of nothing but metadata 35;
            bzip2 and zstd can both express zeros at more than 10 000.
        ratio_floor: Unpacked bytes below which the ratio is not looked at: small archives of repetitive text are
            harmless.
        members: Members of an archive; the largest packages (documentation, fonts, TeX) have about 100 000.
        path_bytes: Memory that may be taken by what has to be remembered of members while an archive is read: paths,
            the directories above them and targets of links. A path takes its length and some 100 bytes.
        header_bytes: Bytes of one extended header (PAX records, GNU long name). libarchive stops at 1 MiB as well.
        records: Records of one PAX header; real ones have a dozen.
        zstd_window_log: Binary logarithm of the largest zstd window, which is what a decoder must hold in memory:
            27 (128 MiB) is what zstd's own command line accepts by default and what level 22 writes; the specification
            asks decoders for 8 MiB (RFC 8878, section 3.1.1.1.2).
        links_outside: Accept symbolic links that lead out of the archive's root. Nothing is written through a link
            in either case. None of the published packages that this was tried with has one.

    The settings `unpacked_bytes`, `unpacked_ratio` and `links_outside` set three of them (see `Limits.of`).
    """

    unpacked_bytes: int = 64 * _GIB
    ratio: float = 1000.0
    ratio_floor: int = 256 * _MIB
    members: int = 500_000
    path_bytes: int = 80 * _MIB
    header_bytes: int = _MIB
    records: int = 1000
    zstd_window_log: int = 27
    links_outside: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that a user set."""
        return cls(
            unpacked_bytes=settings.unpacked_bytes,
            ratio=settings.unpacked_ratio,
            links_outside=settings.links_outside,
        )

    def allowance(self, archive_bytes: int) -> int:
        """Return how many bytes an archive of this size may unpack to."""
        return min(self.unpacked_bytes, max(self.ratio_floor, int(archive_bytes * self.ratio)))


DEFAULT_LIMITS = Limits()


def too_much(what: str, most: object, found: object = None) -> HostileArchiveError:
    """Return the refusal of something that is larger than it may be."""
    return HostileArchiveError(what, expected=f"at most {most}", found=found)


class Allowance:
    """Counts what an archive unpacks to and refuses what is beyond its limits.

    Args:
        limits: The caps.
        archive_bytes: Size of the archive.
        name: What to call the archive in a refusal.
    """

    __slots__ = ("_allowed", "_limits", "_name", "_records", "declared", "members", "streamed")

    def __init__(self, limits: Limits, archive_bytes: int, name: str) -> None:
        self._limits = limits
        self._allowed = limits.allowance(archive_bytes)
        self._name = name
        self.streamed = 0
        self.declared = 0
        self.members = 0
        self._records = 0

    def stream(self, count: int) -> None:
        """Count bytes that a decompressor gave.

        Raises:
            HostileArchiveError: There are too many.
        """
        self.streamed += count
        if self.streamed > self._allowed:
            raise self._too_large(f"more than {self._allowed} bytes")

    def records(self, count: int) -> None:
        """Count the records of a PAX header before the member that they are of.

        Raises:
            HostileArchiveError: There are too many.
        """
        self._records += count
        most = _FREE_RECORDS + _RECORDS_A_MEMBER * (self.members + 1)
        if self._records > most:
            raise too_much(f"{self._name} has too many PAX records for its members", most, self._records)

    def member(self, size: int) -> None:
        """Count a member of `size` bytes when its header is read, before its content is.

        Raises:
            HostileArchiveError: It is one too many, or too large.
        """
        self.members += 1
        if self.members > self._limits.members:
            raise too_much(f"{self._name} has too many members", self._limits.members)
        self.declared += size
        if self.declared > self._allowed:
            raise self._too_large(f"{self.declared} bytes or more")

    def _too_large(self, found: str) -> HostileArchiveError:
        return HostileArchiveError(
            f"{self._name} unpacks to more than it may",
            expected=f"at most {self._allowed} bytes for an archive of its size",
            found=found,
            hint="raise the setting unpacked_bytes or unpacked_ratio if this package is to be trusted",
        )
