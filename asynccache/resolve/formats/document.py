"""The document of an environment, as `asynccache env export --format json` writes it."""

from __future__ import annotations

from asynccache.catalog.export import IDS_KEY
from asynccache.errors import UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.package import Package
from asynccache.model.platform import ARCHITECTURES
from asynccache.node.json_text import read_json
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree
from asynccache.resolve.requests.source_position import SourcePosition

_UNKNOWN = "0" * 40


def read_document(text: str | bytes, place: SourcePosition, arch: str | None) -> ResolvedEnvironment:
    """Read an environment's document.

    An exported document says its identity under `env_id`; another one's is computed from its content.

    Args:
        text: The document.
        place: Its name in errors.
        arch: Architecture that it must be for; None for any.

    Raises:
        UsageError: It is not a document, or is for another architecture.
    """
    try:
        document = read_json(text)
    except ValueError as exc:
        raise UsageError(f"{place} is not JSON ({exc})", expected="an environment document") from exc
    said = document.get(IDS_KEY) if isinstance(document, dict) else None
    try:
        if said is not None:
            found = ResolvedEnvironment.from_document(EnvID(*(str(part) for part in said)), document)
        else:
            archs = document.get("resolved_archs") if isinstance(document, dict) else None
            platform = arch or (str(archs[0]) if archs else ARCHITECTURES[0])
            unnamed = ResolvedEnvironment.from_document(EnvID(_UNKNOWN, _UNKNOWN, platform), document)
            env_id = EnvID(unnamed.request.req_id, unnamed.computed_full_id(), platform)
            found = ResolvedEnvironment.from_document(env_id, document)
    except (TypeError, UsageError) as exc:
        reason = str(exc).replace(f"the document of {_UNKNOWN}:{_UNKNOWN}", "the document")
        raise UsageError(f"{place} is not an environment document: {reason}") from exc
    if arch is not None and found.id.arch != arch:
        raise UsageError(f"{place} is an environment for another architecture", expected=arch, found=found.id.arch)
    return found


def read_document_packages(
    text: str, place: SourcePosition, selection: Selection
) -> tuple[list[Package], list[SourceTree]]:
    """Read the archives that a document names; locally built packages have none.

    Raises:
        UsageError: It is not a document, or is for another architecture.
    """
    wanted = selection.arches[0] if len(set(selection.arches)) == 1 else None
    environment = read_document(text, place, wanted)
    packages, trees = [], []
    for package in environment.packages:
        where = place.at(entry=package.filename)
        if package.downloadable:
            with where.located():
                packages.append(package.to_package())
        else:
            trees.append(SourceTree(where, package.url))
    return packages, trees
