"""Read any lock file or list of archives, recognising its format by name and content."""

from __future__ import annotations

from collections.abc import Iterator

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import Package
from asynccache.resolve.formats.registry import FileFormat, format_names, recognise
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree
from asynccache.resolve.requests.source_position import SourcePosition


@dataclass(frozen=True, slots=True)
class PackageList:
    """What a lock file or list contains for a selection.

    Attributes:
        format: The recognised format.
        packages: Archives, in the list's order, each URL once.
        trees: Sources without an archive: directories and repositories.
    """

    format: FileFormat
    packages: tuple[Package, ...]
    trees: tuple[SourceTree, ...] = ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """What is left out because it is not an archive, one sentence each."""
        return tuple(map(str, self.trees))

    def __iter__(self) -> Iterator[Package]:
        return iter(self.packages)

    def __len__(self) -> int:
        return len(self.packages)


def lock_format(name: str, text: str) -> FileFormat:
    """Return the format of a lock file.

    Raises:
        UsageError: It is not a readable lock file; the message says what it is, and what can be done with it.

    >>> lock_format("uv.lock", "version = 1").name
    'uv.lock'
    """
    found = recognise(name, text, locks=True) or recognise(name, text)
    if found is None:
        raise SourcePosition(name).error("its format is unknown", expected=format_names(lock=True))
    if not found.lock or not found.reader:
        raise no_lock(name, found)
    return found


def no_lock(name: str, fmt: FileFormat) -> UsageError:
    """Return the error for a format that names no archives."""
    article = "an" if fmt.name[0] in "aeiou" else "a"
    if fmt.instead:
        return SourcePosition(name).error(f"it is {article} {fmt.name}, which is not read", hint=fmt.instead)
    return SourcePosition(name).error(
        f"it is {article} {fmt.name}, which says what is wanted and names no archives",
        expected=format_names(lock=True),
        hint=f"`asynccache resolve {name}` finds the archives and caches them",
    )


def read_locked(name: str, text: str, fmt: FileFormat, selection: Selection) -> PackageList:
    """Read a lock file.

    Args:
        name: Its path, which relative entries are relative to and errors name; `-` for standard input.
        text: Its content.
        fmt: Its format, from `lock_format`.
        selection: The part to read.

    Raises:
        UsageError: The lock file, an entry or the selection is invalid; the message names file, line (or entry), reason
            and what to do.
    """
    place = SourcePosition(name)
    if selection.environment is not None and not fmt.environments:
        raise place.error(
            f"an environment was asked for ({selection.environment!r}), which only a pixi.lock has",
            found=f"a {fmt.name}",
        )
    packages, trees = fmt.read_lock(text, place, selection)
    return PackageList(fmt, _each_once(packages, place), tuple(dict.fromkeys(trees)))


def read_package_list(
    name: str,
    text: str,
    *,
    arches: tuple[str, ...] = (),
    environment: str | None = None,
    python: str | None = None,
    extras: frozenset[str] = frozenset(),
    groups: frozenset[str] | None = None,
    skip_sources: bool = False,
) -> PackageList:
    """Read the archives that a lock file or list names.

    Args:
        name: Its path, which relative entries are relative to and errors name; `-` for standard input.
        text: Its content.
        arches: Architectures to take, by conda names; empty means this machine's, or all of an undivided list.
        environment: Environment of a pixi.lock, `default` unless given.
        python: `3.N` or `3.N.M`, the Python that wheels of a pylock.toml or uv.lock are chosen for; by default the one
            running.
        extras: Extras of a pylock.toml or uv.lock to include.
        groups: Dependency groups of a pylock.toml or uv.lock to include; None for its default groups.
        skip_sources: Leave out directories and repositories instead of refusing the list.

    Raises:
        UsageError: The format names no archives, or the list, an entry or the selection is invalid; the message names
            file, line (or entry), reason and what to do.
    """
    selection = Selection(arches, environment, python, extras, groups)
    text = text.removeprefix("\ufeff")
    fmt = lock_format(name, text)
    found = read_locked(name, text, fmt, selection)
    if found.trees and not skip_sources:
        raise found.trees[0].refused()
    return found


def _each_once(packages: list[Package], place: SourcePosition) -> tuple[Package, ...]:
    merged: dict[str, Package] = {}
    for package in packages:
        url = str(package.url)
        try:
            merged[url] = merged[url].with_digests(package.digests) if url in merged else package
        except IntegrityError as exc:
            raise UsageError(
                f"{place}: it lists {url} twice ({exc.message})", expected=exc.expected, found=exc.found
            ) from exc
    return tuple(merged.values())
