"""What a name of any kind means: the one place that all commands and the Metaflow extension use.

    team/env:v1, team/env           an alias; without a tag `latest`
    REQ:FULL, FULL                  ids; may be abbreviated while only one known environment matches
    Flow/Run/Step, Flow/Run, Flow   what a step used; without a step `end`, without a run the latest one
    train, metaflow_REQ_FULL        an environment on this machine, by its directory name
    ./train, /opt/env               by its path
    env.json, ./env                 a document, by its path

If a text could be several of these, the first that is known counts, in this order. Commands that use environments on
this machine look for a directory name first. `@sha256:DIGEST` after any of them pins the content (see
`asynccache.model.environment_digest`): an alias that was moved since refers to what it referred to when it had that
digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynccache.errors import IntegrityError, ObjectNotFoundError, UsageError
from asynccache.hydrate import prefix as places
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.environment_digest import split_name
from asynccache.model.identity import EnvID
from asynccache.model.platform import ARCHITECTURES
from asynccache.node.disk import input_error
from asynccache.node.environments import MARKER, ids_in_name
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    from asynccache.catalog.aliases import Move
    from asynccache.ops.catalog import Catalog

Ids = tuple[str, str]
_PATH: Final = re.compile(r"/|~|\.\.?(/|$)")
_SHORT: Final = re.compile(r"([0-9a-f]{7,40})(?::([0-9a-f]{7,40}))?")
_SHOWN: Final = 12  # digits of an id for display


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a text means.

    Attributes:
        ids: (req_id, full_id) of the environment.
        alias: The alias, ids or pathspec that the text is; None for a path or a directory name.
        prefix: The environment on this machine that the text names.
        document: The content of the file that the text names.
        digest: sha256 in the text, of the environment or of all its architectures; empty if it has none.
    """

    ids: Ids
    alias: Alias | None = None
    prefix: Path | None = None
    document: ResolvedEnvironment | None = None
    digest: str = ""

    def __str__(self) -> str:
        ids = ":".join(self.ids)
        named = self.alias or self.prefix
        return ids if named is None or str(named) == ids else f"{named} ({ids})"


async def meaning_of(catalog: Catalog, text: str, arch: str | None = None, *, local_first: bool = False) -> Meaning:
    """Return what a text means.

    Args:
        catalog: What is known.
        text: The text, as the user wrote it.
        arch: Architecture that a document must be for; None for any.
        local_first: Prefer the directory name of an environment on this machine to an alias.

    Raises:
        UsageError: It is not a valid name, is ambiguous, or the file is not a document.
        ObjectNotFoundError: No environment is known under it.
    """
    name, digest = split_name(text)
    if not digest:
        return await _meaning(catalog, text, arch, local_first)
    meaning = await _meaning(catalog, name, arch, False)  # what was created under a name may have been replaced since
    return replace(meaning, ids=await _that_had(catalog, meaning, digest), digest=digest)


async def _that_had(catalog: Catalog, meaning: Meaning, digest: str) -> Ids:
    """Return the ids of an alias, or those it had when it had a digest."""
    alias = meaning.alias
    if catalog.digests is None or catalog.aliases is None or alias is None or not alias.mutable:
        return meaning.ids
    for ids in dict.fromkeys((meaning.ids, *(move.target for move in reversed(await _moves(catalog, alias))))):
        for arch in ARCHITECTURES:
            if await catalog.digests.has(EnvID(*ids, arch), digest):
                return ids
    return meaning.ids


async def _moves(catalog: Catalog, alias: Alias) -> list[Move]:
    try:
        return await catalog.aliases.history(alias) if catalog.aliases is not None else []
    except IntegrityError:
        return []  # a history that was tampered with is not used


async def _meaning(catalog: Catalog, text: str, arch: str | None, local_first: bool) -> Meaning:
    if _PATH.match(text) or text.endswith(".json"):
        return await in_thread(_at, Path(text), arch)
    place = _place(catalog, text)
    if local_first and (found := await in_thread(_prefix, place)) is not None:
        return found
    if (ids := ids_in_name(text)) is not None:
        return Meaning(ids, prefix=place if places.read_marker(place) is not None else None)
    try:
        alias, ids = await catalog.lookup.named(text)
    except (UsageError, ObjectNotFoundError):
        known = await in_thread(_prefix, place) or await _shortened(catalog, text)
        if known is None and place.is_file() and "/" in text:
            known = await in_thread(_at, place, arch)
        if known is None:
            raise
        return known
    return Meaning(ids, alias)


async def shortest_name(catalog: Catalog, ids: Ids, asked: str = "") -> str:
    """Return the shortest name for an environment on this machine.

    Args:
        catalog: What this machine knows.
        ids: Of the environment.
        asked: The name by which it was just requested.
    """
    if asked and not (_PATH.match(asked) or asked.endswith(".json") or _SHORT.fullmatch(asked) or len(asked) > 80):
        place = await in_thread(_prefix, _place(catalog, asked))
        if place is None or place.ids == ids:
            return asked
    known = await in_thread(catalog.local.names)
    names = [alias for alias, meant in known if meant == ids and alias.kind == "generic"]
    if names:
        return str(min(names, key=lambda alias: (alias.mutable, len(str(alias)), str(alias))))
    short = ids[1][:_SHOWN]
    others = [other for other in await _known_locally(catalog) if other[1].startswith(short) and other != ids]
    return ":".join(ids) if others else short


def _place(catalog: Catalog, text: str) -> Path:
    if "/" in text:
        return Path(text).absolute()
    return places.environments_directory(catalog.settings) / text


def _prefix(place: Path) -> Meaning | None:
    env_id = places.read_marker(place)
    return None if env_id is None else Meaning((env_id.req_id, env_id.full_id), prefix=place)


def _at(path: Path, arch: str | None) -> Meaning:
    path = path.expanduser()
    if path.is_dir():
        found = _prefix(path.absolute())
        if found is None:
            raise ObjectNotFoundError(
                f"{path} is no environment",
                expected=f"a complete one, with the file {MARKER}",
                hint="`asynccache envs` lists those on this machine",
            )
        return found
    document = read_document(path, arch)
    return Meaning((document.id.req_id, document.id.full_id), document=document)


def read_document(path: Path, arch: str | None) -> ResolvedEnvironment:
    """Read an environment's document from a file. Blocking.

    Args:
        path: The file.
        arch: Architecture that it must be for; None for any.

    Raises:
        ObjectNotFoundError: There is no such file.
        UsageError: It cannot be read, is not a document, or is for another architecture.
    """
    from asynccache.resolve.formats import document  # noqa: PLC0415 - looking up does without
    from asynccache.resolve.requests.source_position import SourcePosition  # noqa: PLC0415

    try:
        data = path.read_bytes()
    except OSError as exc:
        raise input_error(path, exc) from exc
    return document.read_document(data, SourcePosition(str(path)), arch)


async def _known_locally(catalog: Catalog) -> set[Ids]:
    from asynccache.ops.on_disk import hydrated  # noqa: PLC0415 - only for abbreviated ids

    listed = await in_thread(catalog.local.summaries)
    on_disk = await in_thread(hydrated, catalog.settings, sizes=False)
    return {(i.req_id, i.full_id) for i in (*(s.id for s in listed), *(e.id for e in on_disk))}


async def _shortened(catalog: Catalog, text: str) -> Meaning | None:
    """Return what an abbreviated id means: on this machine, else in the store."""
    matched = _SHORT.fullmatch(text)
    if matched is None:
        return None
    found = _beginning(await _known_locally(catalog), matched)
    if not found and catalog.remote is not None:
        stored = await catalog.remote.summaries()
        found = _beginning({(s.id.req_id, s.id.full_id) for s in stored}, matched)
    if len(found) > 1:
        raise UsageError(
            f"{text} is short for {len(found)} environments",
            expected="more digits",
            found=", ".join(":".join(ids) for ids in found[:3]) + (", ..." if len(found) > 3 else ""),
        )
    return Meaning(found[0], Alias("both-id", ":".join(found[0]))) if found else None


def _beginning(known: Iterable[Ids], matched: re.Match[str]) -> list[Ids]:
    first, second = matched[1], matched[2]
    if second is None:
        return sorted(ids for ids in known if ids[1].startswith(first))
    return sorted(ids for ids in known if ids[0].startswith(first) and ids[1].startswith(second))
