"""Keep an archive inside its root: no path, no link and no chain of links may lead out of it.

Refused: absolute paths, `..`, members below or at the place of a symbolic link or file, links and files at the place of
a directory, symbolic links that lead out of the root when all links are followed, hard links to what was not there
before them, two members at one path. Accepted: dangling links and link loops, which real packages have and which harm
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asynccache.archive.limits import Limits, too_much
from asynccache.archive.member import Member, MemberType, shown
from asynccache.errors import ArchiveError, HostileArchiveError

_MAX_PATH: Final = 4096  # bytes; what Linux can open or store in a link (PATH_MAX)
_MAX_NAME: Final = 255  # bytes; what file systems take for a name (NAME_MAX)
_MAX_DEPTH: Final = 256  # directories; what is remembered of a path grows with its square, and real ones have 30
# bytes of paths looked at to follow all links of an archive: 50 MB take some 0.3 seconds
_MAX_FOLLOWED: Final = 50_000_000
_FREE_FOLLOWED: Final = 4_000_000
_FOLLOWED_A_LINK: Final = 20_000  # real ones take some hundred
# what a path, and a link, takes besides its bytes: the object and its place in a set that may be half empty
_PATH_COST: Final = 100
_LINK_COST: Final = 250


def checked_path(name: bytes) -> bytes:
    """Return where a name is below the root, without empty and `.` segments; empty for the root itself.

    Raises:
        HostileArchiveError: The name is absolute, contains `..` or NUL.

    >>> checked_path(b"./info//index.json")
    b'info/index.json'
    """
    if len(name) > _MAX_PATH:
        raise too_much(f"the member {shown(name[:80])} has a long path", f"{_MAX_PATH} bytes", len(name))
    if name[:1] == b"/":
        raise HostileArchiveError(f"the member {shown(name)} has an absolute path", expected="a path below the root")
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if len(parts) > _MAX_DEPTH:
        raise too_much(f"the member {shown(name[:80])} is nested too deeply", f"{_MAX_DEPTH}", len(parts))
    if b".." in parts:
        raise HostileArchiveError(f"the member {shown(name)} climbs with '..'", expected="a path below the root")
    if any(len(part) > _MAX_NAME for part in parts):
        raise too_much(f"the member {shown(name[:80])} has a long name", f"{_MAX_NAME} bytes in each directory")
    if b"\0" in name:
        raise HostileArchiveError(f"the member {shown(name)} has a NUL in its name")
    return b"/".join(parts)


class Root:
    """What an archive has put below its root so far.

    Args:
        limits: Whether symbolic links may lead outside, and how much may be remembered.
    """

    __slots__ = ("_directories", "_files", "_held", "_limits", "_links")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._files: set[bytes] = set()  # everything but directories and symbolic links
        self._directories: set[bytes] = {b""}  # with a member of their own, and those above members
        self._links: dict[bytes, bytes] = {}
        self._held = 0

    def add(self, member: Member) -> None:
        """Take the next member.

        Raises:
            HostileArchiveError: It must not be there.
            ArchiveError: It cannot be there.
        """
        path = member.path
        if path in self._links:
            raise HostileArchiveError(
                f"{member.shown} would be written through the symbolic link of the same name",
                found=f"a link to {shown(self._links[path])}",
            )
        if member.type is MemberType.DIRECTORY:
            self._make(member, path)
            return
        if not path:
            raise ArchiveError(f"the member {member.shown} is the root itself and no directory")
        if path in self._files or path in self._directories:
            raise self._twice(member)
        self._make(member, path.rpartition(b"/")[0])
        if member.type is MemberType.HARD_LINK:
            self._check_hard_link(member)
        if member.type is MemberType.SYMBOLIC_LINK:
            _check_target(member)
            self._links[path] = member.linkname
            self._hold(len(path) + len(member.linkname) + _LINK_COST)
        else:
            self._files.add(path)
            self._hold(len(path) + _PATH_COST)

    def close(self) -> None:
        """Follow every symbolic link, now that all are known.

        Raises:
            HostileArchiveError: One leads out of the root.
        """
        if not self._limits.links_outside:
            refuse_links_outside(self._links)

    def _make(self, member: Member, path: bytes) -> None:
        """Take a directory and those above it: what is one stays one, so known ones need not be looked at again."""
        while path not in self._directories:
            if path in self._files:
                if path == member.path:
                    raise self._twice(member)
                raise HostileArchiveError(
                    f"the member {member.shown} lies below {shown(path)}, which is a file",
                    hint="no file system can hold both",
                )
            if path in self._links:
                raise HostileArchiveError(
                    f"{member.shown} would be written through the symbolic link {shown(path)}",
                    found=f"a link to {shown(self._links[path])}",
                )
            self._directories.add(path)
            self._hold(len(path) + _PATH_COST)
            path = path.rpartition(b"/")[0]

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > self._limits.path_bytes:
            raise too_much("the archive's paths are too many or too long", f"{self._limits.path_bytes} bytes")

    def _check_hard_link(self, member: Member) -> None:
        try:
            target = checked_path(member.linkname)
        except HostileArchiveError as exc:
            raise HostileArchiveError(
                f"the hard link {member.shown} leads out of the root", found=shown(member.linkname)
            ) from exc
        if target in self._files or target in self._links:
            return
        above = target
        while above := above.rpartition(b"/")[0]:
            if above in self._directories:
                break
            if above in self._links:
                raise HostileArchiveError(
                    f"the hard link {member.shown} to {shown(target)} would be written through the symbolic link"
                    f" {shown(above)}",
                    found=f"a link to {shown(self._links[above])}",
                )
        raise HostileArchiveError(
            f"the hard link {member.shown} has no earlier file to link to", found=shown(member.linkname)
        )

    @staticmethod
    def _twice(member: Member) -> HostileArchiveError:
        return HostileArchiveError(
            f"the archive holds {member.shown} twice", expected="one member at one path", hint="readers disagree on it"
        )


def _check_target(member: Member) -> None:
    target = member.linkname
    if not target:
        raise ArchiveError(f"the symbolic link {member.shown} has no target")
    if len(target) > _MAX_PATH:
        raise too_much(f"the symbolic link {member.shown} has a long target", f"{_MAX_PATH} bytes", len(target))
    if b"\0" in target:
        raise HostileArchiveError(f"the symbolic link {member.shown} has a NUL in its target")


def refuse_links_outside(links: Mapping[bytes, bytes]) -> None:
    """Follow symbolic links.

    Args:
        links: Path below the root -> target. No path of them is below another one.

    Raises:
        HostileArchiveError: One leads out of the root when all are followed.
    """
    walk = _Walk(links)
    for path, target in links.items():
        if walk.leads_outside(path):
            raise HostileArchiveError(
                f"the symbolic link {shown(path)} leads out of the root",
                expected="a target below the root",
                found=shown(target),
                hint="set links_outside if this package is to be trusted",
            )


_STAYING: Final = (b"", b".")  # parts of a path that lead nowhere
_OUTSIDE: Final = b"/"  # no path below the root begins so
_NOWHERE: Final = b"//"  # a loop, or longer than any path


class _Walk:
    """Follows links as the kernel does, each target once: where a link ends does not depend on who comes to it."""

    def __init__(self, links: Mapping[bytes, bytes]) -> None:
        self._links = links
        self._most = min(_MAX_FOLLOWED, _FREE_FOLLOWED + _FOLLOWED_A_LINK * len(links))
        self._ends: dict[bytes, bytes] = {}  # of links that others lead to
        self._looked_at = 0

    def leads_outside(self, path: bytes) -> bool:
        """Whether a link leads out of the root."""
        waiting = [self._begun(path)]
        underway = {path}
        end = _NOWHERE
        while waiting:
            link, here, todo = waiting[-1]
            met = None
            while todo:
                here = self._step(here, todo[-1])
                if here in self._links:
                    if here not in self._ends and here not in underway:
                        met = here
                        break
                    here = self._ends.get(here, _NOWHERE)
                todo = todo[:0] if here in {_OUTSIDE, _NOWHERE} else todo
                if todo:
                    todo.pop()
                    waiting[-1] = (link, here, todo)
            if met is not None:
                # it is followed first; the step that met it is taken again then
                waiting.append(self._begun(met))
                underway.add(met)
                continue
            end = here
            if len(waiting) > 1:
                self._ends[link] = end
                self._count(len(end) + _LINK_COST)
            waiting.pop()
            underway.discard(link)
        return end == _OUTSIDE

    def _begun(self, path: bytes) -> tuple[bytes, bytes, list[bytes]]:
        """Return a link, the directory that it is in, and the segments of its target in reverse order."""
        target = self._links[path]
        self._count(len(target))
        if target[:1] == b"/":
            return path, _OUTSIDE, []
        return path, path.rpartition(b"/")[0], [part for part in target.split(b"/")[::-1] if part not in _STAYING]

    def _step(self, here: bytes, part: bytes) -> bytes:
        self._count(len(here) + len(part) + 1)
        if part == b"..":
            return here.rpartition(b"/")[0] if here else _OUTSIDE
        there = here + b"/" + part if here else part
        # what does not exist is left by no `..`
        return there if len(there) <= _MAX_PATH else _NOWHERE

    def _count(self, count: int) -> None:
        self._looked_at += count
        if self._looked_at > self._most:
            raise HostileArchiveError("the archive's symbolic links are too tangled to follow")
