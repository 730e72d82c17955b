"""Keep an archive inside its root: no path, no link and no chain of links may lead out of it.

Refused: absolute paths, `..`, members below or at the place of a symbolic link, symbolic links that lead out of the
root when all links are followed, hard links to what was not there before them, two members at one path. Accepted:
dangling links and link loops, which real packages have and which harm nobody.
"""

from __future__ import annotations

from typing import Final

from asynccache.archive.limits import Limits
from asynccache.archive.member import Member, MemberType, shown
from asynccache.errors import ArchiveError, HostileArchiveError

_MAX_FOLLOWED: Final = 40  # links in one path, as Linux allows (path_resolution(7)); more are a loop, hence harmless
_MAX_PATH: Final = 4096  # bytes; what Linux can open or store in a link (PATH_MAX)
_MAX_STEPS: Final = 20_000_000  # path segments looked at for all links of an archive: some ten seconds


def checked_path(name: bytes) -> bytes:
    """Return where a name lies below the root, without empty and `.` segments; empty for the root itself.

    Raises:
        HostileArchiveError: The name is absolute, contains `..` or NUL.

    >>> checked_path(b"./info//index.json")
    b'info/index.json'
    """
    if len(name) > _MAX_PATH:
        raise HostileArchiveError(
            f"the member {shown(name[:80])} has a long path", expected=f"at most {_MAX_PATH} bytes", found=len(name)
        )
    if name[:1] == b"/":
        raise HostileArchiveError(f"the member {shown(name)} has an absolute path", expected="a path below the root")
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise HostileArchiveError(f"the member {shown(name)} climbs with '..'", expected="a path below the root")
    if b"\0" in name:
        raise HostileArchiveError(f"the member {shown(name)} has a NUL in its name")
    return b"/".join(parts)


class Root:
    """What an archive has put below its root so far.

    Args:
        limits: Whether symbolic links may lead outside.
    """

    __slots__ = ("_directories", "_limits", "_links", "_paths", "_steps")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._paths: set[bytes] = set()  # of everything but directories and symbolic links
        self._directories: set[bytes] = set()  # that have a member of their own
        self._links: dict[bytes, bytes] = {}
        self._steps = 0

    def add(self, member: Member) -> None:
        """Take the next member.

        Raises:
            HostileArchiveError: It must not be there.
            ArchiveError: It cannot be there.
        """
        path = member.path
        if self._links:
            self._refuse_through_link(member.shown, path)
        if member.type is MemberType.DIRECTORY:
            if path in self._paths:
                raise self._twice(member)
            self._directories.add(path)
            return
        if not path:
            raise ArchiveError(f"the member {member.shown} is the root itself and no directory")
        if path in self._paths or path in self._directories:
            raise self._twice(member)
        if member.type is MemberType.HARD_LINK:
            self._check_hard_link(member)
        if member.type is MemberType.SYMBOLIC_LINK:
            if not member.linkname:
                raise ArchiveError(f"the symbolic link {member.shown} has no target")
            if len(member.linkname) > _MAX_PATH:
                raise HostileArchiveError(
                    f"the symbolic link {member.shown} has a long target",
                    expected=f"at most {_MAX_PATH} bytes",
                    found=len(member.linkname),
                )
            self._links[path] = member.linkname
        else:
            self._paths.add(path)

    def close(self) -> None:
        """Follow every symbolic link, now that all are known.

        Raises:
            HostileArchiveError: One leads out of the root.
        """
        if self._limits.links_outside:
            return
        for path, target in self._links.items():
            if self._leads_outside(path):
                raise HostileArchiveError(
                    f"the symbolic link {shown(path)} leads out of the root",
                    expected="a target below the root",
                    found=shown(target),
                )

    def _refuse_through_link(self, name: str, path: bytes) -> None:
        if path in self._links:
            raise HostileArchiveError(
                f"{name} would be written through the symbolic link of the same name",
                found=f"a link to {shown(self._links[path])}",
            )
        slash = path.find(b"/")
        while slash >= 0:
            above = path[:slash]
            if above in self._links:
                raise HostileArchiveError(
                    f"{name} would be written through the symbolic link {shown(above)}",
                    found=f"a link to {shown(self._links[above])}",
                )
            slash = path.find(b"/", slash + 1)

    def _check_hard_link(self, member: Member) -> None:
        try:
            target = checked_path(member.linkname)
        except HostileArchiveError as exc:
            raise HostileArchiveError(
                f"the hard link {member.shown} leads out of the root", found=shown(member.linkname)
            ) from exc
        if self._links and target not in self._links:
            self._refuse_through_link(f"the hard link {member.shown} to {shown(target)}", target)
        if target not in self._paths and target not in self._links:
            raise HostileArchiveError(
                f"the hard link {member.shown} has no earlier file to link to", found=shown(member.linkname)
            )

    def _leads_outside(self, path: bytes) -> bool:
        # what the kernel does: each link's target replaces the link, relative to the directory that it lies in
        todo = path.split(b"/")[::-1]
        done: list[bytes] = []
        followed = 0
        while todo:
            part = todo.pop()
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise HostileArchiveError("the archive's symbolic links are too tangled to follow")
            if part in {b"", b"."}:
                continue
            if part == b"..":
                if not done:
                    return True
                done.pop()
                continue
            done.append(part)
            target = self._links.get(b"/".join(done))
            if target is None:
                continue
            if target[:1] == b"/":
                return True
            followed += 1
            if followed > _MAX_FOLLOWED:
                return False
            done.pop()
            todo.extend(target.split(b"/")[::-1])
        return False

    @staticmethod
    def _twice(member: Member) -> HostileArchiveError:
        return HostileArchiveError(
            f"the archive holds {member.shown} twice", expected="one member at one path", hint="readers disagree on it"
        )
