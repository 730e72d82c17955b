"""Tries the reader with one package: what it says, what it takes, and whether the reference sees the same."""

from __future__ import annotations

import re
import resource
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asynccache.archive import Limits, check, transmute
from asynccache.archive.member import MemberType
from asynccache.errors import ArchiveError
from tests.archive.members import MemberRecord, members
from tests.fuzz.inputs import Input
from tests.fuzz.reference import Seen, UnreadableError, read_tars, unpacked

LIMITS: Final = Limits(ratio_floor=8 << 20)  # small, so that what is refused as a bomb takes no time to make
_TRANSMUTED: Final = 16  # one of so many that are accepted is also written in the other format, and read there
_MEMORY: Final = 100 << 10  # KiB above what the process had
# CPU seconds: what issue and limits promise of the size, and what a process may be interrupted for
_FREE: Final = 0.03
_A_MEMBER: Final = 0.2 / 1000
_OF_DECODING: Final = 3.0

STRICTER: Final = {
    "what readers disagree on": r"readers disagree|readers take|ambiguous|some readers refuse|of one kind, or of two"
    r"|between a member and its own headers|says twice|name prefix|directory by its name",
    "paths out of the root": r"absolute path|climbs with|leads? out of the root|NUL in its",
    "what is no package's": r"character device|block device|named pipe|unknown type",
    "members that exclude each other": r"twice|lies below|through the symbolic link|is the root itself|earlier file",
    "sparse files": r"sparse",
    "long names": r"long path|long name|long target",
    "malformed numbers, dates and records": r"malformed|no file can have|without a key|negative size"
    r"|does not add up|do not add up|whole blocks",
    "no target or name": r"no target|is empty|empty path|cut by a NUL",
    "what follows the end, or no end": r"continues past its end|ends too early|followed by other data|wrong checksum",
    "the container": r"does not end as|central directory|on several disks|compressed or encrypted|disagree|overlap"
    r"|hides data|unexpectedly|of different packages|later version of ZIP|ZIP64|followed by its sizes"
    r"|it lacks|no entry at|two ",
    "streams": r"is not zstd data|is not a bzip2 file|is damaged|ends within|large zstd window|too many streams",
    "size": r"unpacks to more|too many|large|too tangled",
    "index and metadata": r"info/index.json|format's version|another version|no info/index",
}  # fmt: skip
"""Why we refuse what tarfile reads: words of the refusal, by subject."""
_STRICTER: Final = {subject: re.compile(words) for subject, words in STRICTER.items()}


@dataclass(slots=True)
class Tally:
    """What the runs so far came to.

    Attributes:
        outcomes: How many were accepted, refused by both, refused by us alone (by subject).
        wrong: Number of the package and what is wrong, in order.
        slowest: CPU seconds of the slowest run, as a share of what it may take, and its number.
        most_memory: KiB by which a run raised the memory of the process, and its number.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    most_memory: tuple[int, int] = (0, -1)


class Judge:
    """Tries packages, one after another, in a directory of its own.

    Args:
        directory: For the files.
        tally: Where the results go.
    """

    def __init__(self, directory: Path, tally: Tally) -> None:
        self._directory = directory
        self._tally = tally
        self._accepted = 0

    def judge(self, number: int, made: Input) -> None:
        """Try one."""
        path = self._directory / made.name
        path.write_bytes(made.data)
        try:
            self._judge(number, made, path)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is what is looked for
            self._wrong(number, f"{type(exc).__name__}: {exc}")

    def _wrong(self, number: int, what: str) -> None:
        self._tally.wrong.append((number, what))

    def _judge(self, number: int, made: Input, path: Path) -> None:
        before = _peak()
        seconds, refusal, count = _tried(path)
        grown = _peak() - before
        if grown > self._tally.most_memory[0]:
            self._tally.most_memory = grown, number
        if grown > _MEMORY:
            self._wrong(number, f"took {grown >> 10} MiB")
        theirs: list[Seen] | UnreadableError
        started = time.thread_time()
        archives: list[bytes] = []
        try:
            archives = unpacked(made.name, made.data)
            decoding = time.thread_time() - started
            theirs = read_tars(archives)
        except UnreadableError as exc:
            decoding = time.thread_time() - started
            theirs = exc
        may = _FREE + _OF_DECODING * decoding + _A_MEMBER * count
        if seconds > may:  # once may be the machine, and what was refused had members, too
            seconds = min(seconds, *(_tried(path)[0] for _ in range(3)))
            may = _FREE + _OF_DECODING * decoding + _A_MEMBER * max(count, _members_until_refused(path))
        if seconds / may > self._tally.slowest[0]:
            self._tally.slowest = seconds / may, number
        if seconds > may:
            self._wrong(number, f"took {seconds:.3f} s of CPU instead of {may:.3f}")
        if _peak() > before + grown:
            _forget_peak()
        if refusal is not None:
            self._refused(number, refusal, theirs)
        elif isinstance(theirs, UnreadableError):
            self._wrong(number, f"accepted, and the reference does not read it: {theirs}")
        else:
            self._compare(number, path, theirs)

    def _refused(self, number: int, refusal: str, theirs: list[Seen] | UnreadableError) -> None:
        if isinstance(theirs, UnreadableError):
            self._tally.outcomes["refused by both"] += 1
            return
        subject = next((s for s, words in _STRICTER.items() if words.search(refusal)), None)
        if subject is None:
            self._wrong(number, f"refused for no listed reason what the reference reads: {refusal}")
        self._tally.outcomes[f"refused by us: {subject}"] += 1

    def _compare(self, number: int, path: Path, theirs: list[Seen]) -> None:
        ours = [seen(record) for record in members(path, LIMITS)]
        if ours != theirs:
            pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b][:1]
            self._wrong(number, f"{len(ours)} members, the reference sees {len(theirs)}; first difference {pairs}")
        self._tally.outcomes["accepted"] += 1
        self._accepted += 1
        if self._accepted % _TRANSMUTED == 0:
            self._transmute(number, path, theirs)

    def _transmute(self, number: int, path: Path, theirs: list[Seen]) -> None:
        stem, _, fmt = path.name.partition("-0.")
        derived = path.with_name(f"{stem}-0.{'conda' if fmt == 'tar.bz2' else 'tar.bz2'}")
        derived.unlink(missing_ok=True)
        with suppress(ArchiveError):  # what would not be readable there is refused
            transmute(path, derived, level=1, limits=LIMITS)
            found = read_tars(unpacked(derived.name, derived.read_bytes()))
            if _parted(found) != _parted(theirs):
                self._wrong(number, "the reference sees other members in what was written in the other format")
            self._tally.outcomes["transmuted"] += 1


def seen(record: MemberRecord) -> Seen:
    """Return a member of ours as the reference would see it."""
    member = record.member
    return Seen(
        path=member.path,
        kind=_KINDS[member.type],
        mode=member.mode & 0o7777,
        size=member.real_size,
        target=member.linkname,
        sha256=record.sha256,
        mtime=0 if member.type is MemberType.SPARSE_FILE else int(member.mtime),
    )


_KINDS: Final = {
    MemberType.FILE: "file", MemberType.HARD_LINK: "hard link", MemberType.SYMBOLIC_LINK: "symbolic link",
    MemberType.DIRECTORY: "directory", MemberType.SPARSE_FILE: "sparse file",
}  # fmt: skip


def _parted(found: list[Seen]) -> list[Seen]:
    return sorted(found, key=lambda member: not (member.path == b"info" or member.path.startswith(b"info/")))


def _tried(path: Path) -> tuple[float, str | None, int]:
    """Return the CPU seconds that the reader took, why it refused, and how many members it came to."""
    refusal, count = None, 0
    started = time.thread_time()
    try:
        count = check(path, limits=LIMITS).members
    except ArchiveError as exc:
        refusal = str(exc)
    return time.thread_time() - started, refusal, count


def _members_until_refused(path: Path) -> int:
    count = 0
    with suppress(ArchiveError):
        for _ in members(path, LIMITS):
            count += 1
    return count


def _peak() -> int:
    """Return the most memory that this process had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_peak() -> None:
    """Let the peak begin again: the reference, which holds whole archives, must not hide what the reader takes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
