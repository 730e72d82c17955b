"""Read any lock or list of archives, recognising its format by name and content."""

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
    """What a lock or list holds for a selection.

    Attributes:
        format: What the list was recognised as.
        packages: Archives, in the list's order, each URL once.
        trees: What has no archive: directories and repositories.
    """

    format: FileFormat
    packages: tuple[Package, ...]
    trees: tuple[SourceTree, ...] = ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """What is left out because it is not an archive, a sentence each."""
        return tuple(map(str, self.trees))

    def __iter__(self) -> Iterator[Package]:
        return iter(self.packages)

    def __len__(self) -> int:
        return len(self.packages)


def lock_format(name: str, text: str) -> FileFormat:
    """Return the format of a lock.

    Raises:
        UsageError: It is none that can be read; the error names what it is, and what can be done with it.

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
    """Return the error that a file of a format names no archives that are read."""
    article = "an" if fmt.name[0] in "aeiou" else "a"
    if fmt.instead:
        return SourcePosition(name).error(f"it is {article} {fmt.name}, which is not read", hint=fmt.instead)
    return SourcePosition(name).error(
        f"it is {article} {fmt.name}, which says what is wanted and names no archives",
        expected=format_names(lock=True),
        hint=f"`asynccache resolve {name}` finds the archives and caches them",
    )


def read_locked(name: str, text: str, fmt: FileFormat, selection: Selection) -> PackageList:
    """Read a lock.

    Args:
        name: Its path, which relative entries are relative to and errors name; `-` for standard input.
        text: Its content.
        fmt: What `lock_format` says it is.
        selection: The part of it that is wanted.

    Raises:
        UsageError: The lock, an entry or the selection is wrong; the message names file, line (or entry), reason and
            what to do.
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
    """Read the archives that a lock or list names.

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
        UsageError: The format is none that names archives, or the list, an entry or the selection is wrong; the message
            names file, line (or entry), reason and what to do.
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
