"""All packages of an environment in one directory: conda packages first, then wheels, in the document's order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import DiskError, HydrationError
from asynccache.hydrate.extracted import Extracted
from asynccache.hydrate.link import CLOBBERED, check_prefix, link_conda
from asynccache.hydrate.packages import NodePackages
from asynccache.hydrate.place import LinkType, best_link_type
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import parse_stem
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json


@dataclass(frozen=True, slots=True)
class Tree:
    """A linked directory.

    Attributes:
        link_type: How files were placed.
        bytes: Unpacked size of all packages.
        files: Number of files and links in the packages.
        notes: Notes for the user, one sentence each.
    """

    link_type: LinkType
    bytes: int
    files: int
    notes: tuple[str, ...]


async def link_tree(host: Host, sources: Sources, environment: ResolvedEnvironment, target: Path, prefix: str) -> Tree:
    """Link all packages and wheels of an environment, for any architecture.

    What is not on this node is first fetched and extracted. No link scripts are run, no byte code is compiled and no
    `.metaflowenv` is written.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that has the packages, and upstream.
        environment: The environment.
        target: New or empty directory.
        prefix: The path that is written into the files, whatever `target` is.

    Raises:
        FetchError: No source has a package.
        IntegrityError: Every source has other bytes of a package than its digest says.
        HydrationError: Something cannot be linked, for instance because the prefix is too long.
        DiskError: The disk is full or cannot be written.
        LockTimeoutError: Another process has been fetching a package for too long.
    """
    node = NodePackages(host, sources)
    async with node.in_use():
        extracted = await node.ensure(environment.packages)
        conda = [e for e in extracted if e.package.kind == "conda"]
        wheels = [e for e in extracted if e.package.kind == "pypi"]
        check_prefix(conda, prefix)
        kind = await host.threads.run(_prepared, target, node.directory.path, extracted)
        started = host.clock.now()
        clobbered = await link_conda(host.threads, conda, target, prefix, environment.id.arch, kind) if conda else []
        linked = host.clock.now()
        host.emit(events.Linked(str(target), "conda", len(conda), linked - started))
        notes = node.notes
        notes += [
            f"{item.path} is in several packages; that of {item.package} lies in {CLOBBERED}" for item in clobbered
        ]
        if wheels:
            from asynccache.hydrate.wheels import install_wheels, python_layout  # noqa: PLC0415 - not all environments have some

            layout = await host.threads.run(python_layout, conda)
            if layout is None:
                raise HydrationError(
                    f"{wheels[0].package.filename}.whl cannot be installed: the environment has no conda package python"
                )
            installed = await host.threads.run(install_wheels, wheels, target, prefix, layout, kind)
            host.emit(events.Linked(str(target), "pypi", len(wheels), host.clock.now() - linked))
            notes += [f"{old} was replaced by the wheel of the same name" for old in installed.replaced]
            notes += [
                f"{path} is in several packages; that of {wheel} was taken" for path, wheel in installed.clobbered
            ]
        notes += await host.threads.run(_case_notes, target)
        if not conda:
            notes.append(f"{environment.id} has no conda packages")
    contents = [e.contents for e in extracted]
    return Tree(kind, sum(c.bytes for c in contents), sum(c.files for c in contents), tuple(notes))


def link_scripts(environment: ResolvedEnvironment, target: Path) -> list[tuple[str, Path]]:
    """Return (package, script relative to `target`) of the scripts to run after linking, in the document's order.
    Blocking.
    """
    found = []
    for package in environment.packages:
        if package.kind == "conda":
            path = Path("bin") / f".{parse_stem('conda', package.filename).name}-post-link.sh"
            if (target / path).is_file():
                found.append((package.filename, path))
    return found


def _prepared(target: Path, source: Path, extracted: Sequence[Extracted]) -> LinkType:
    """Create the target, choose how to link, and refuse what does not fit."""
    with disk_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        kind: LinkType = best_link_type(source, target)
        free = shutil.disk_usage(target).free
    needed = sum(e.contents.bytes if kind == "copy" else e.contents.placed_bytes for e in extracted)
    if free < needed:
        raise DiskError(
            f"the environment does not fit into {target.parent}",
            expected=f"{needed} free bytes",
            found=free,
            hint="free some space, or set environments_dir to a larger disk",
        )
    return kind


def _case_notes(target: Path) -> list[str]:
    """Find paths that differ only in case, if the file system does not distinguish them."""
    if not _ignores_case(target):
        return []
    by_folded: dict[str, set[str]] = {}
    for record in sorted((target / "conda-meta").glob("*.json")):
        for path in read_json(record.read_bytes()).get("files", []):
            by_folded.setdefault(path.casefold(), set()).add(path)
    return [
        f"{' and '.join(sorted(paths))} are one file on this disk, which ignores case; one of them is missing"
        for _, paths in sorted(by_folded.items())
        if len(paths) > 1
    ]


def _ignores_case(directory: Path) -> bool:
    with tempfile.NamedTemporaryFile(prefix=".asynccache-case-", dir=directory) as file:
        path = Path(file.name)
        return path.with_name(path.name.upper()).exists()
