"""What is known of a request already: on this machine, then in the store as far as the settings allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_request import Group
from asynccache.resolve.requests.assemble import Assembled
from asynccache.runtime.late_loop import in_thread


@dataclass(frozen=True, slots=True)
class Known:
    """One environment that meets a request.

    Attributes:
        environment: The environment.
        known_locally: Whether this machine's list has it, as the default of its request.
        named: Whether somebody named it, so that nothing is said of what its request means by default.
    """

    environment: ResolvedEnvironment
    known_locally: bool
    named: bool = False


async def look_up(group: Group, opening: Opening, *, local_only: bool) -> dict[str, Known]:
    """Return what is known, by architecture (contract, section 1.5).

    Of architectures that are asked for together either all are known under one id, or none counts.

    Raises:
        StoreError: The store cannot be opened or listed.
    """
    found: dict[str, Known] = {}
    for arch, asked in group.asked.items():
        if asked.base is not None and asked.base.id.req_id == asked.request.req_id:
            found[arch] = Known(asked.base, known_locally=False, named=True)
        elif group.lock is None or group.unique_keys:
            how: dict[str, Any] = {"unique_keys": group.unique_keys, "local_only": local_only}
            known = await default_of(group.req_id, arch, opening, **how)
            older = [] if known is not None else await in_thread(_older, asked, opening)
            for req_id in older:
                known = known or await default_of(req_id, arch, opening, **how)
            if known is not None:
                found[arch] = known
    if group.together and (
        len(found) < len(group.asked) or len({known.environment.id.full_id for known in found.values()}) > 1
    ):
        return {}
    return found


def _older(asked: Assembled, opening: Opening) -> list[str]:
    from asynccache.resolve.requests.older_ids import older_ids  # noqa: PLC0415 - not for what is known

    settings = opening.settings
    return older_ids(asked.request, replace(settings, auth={**settings.auth, **asked.auth}), asked.written)


async def default_of(
    req_id: str, arch: str, opening: Opening, *, unique_keys: Mapping[str, str] | None = None, local_only: bool = False
) -> Known | None:
    """Return what a request means for an architecture; None if nothing is known.

    Raises:
        StoreError: The store cannot be opened or listed.
    """
    known_locally = await opening.local.lookup.by_request(req_id, arch, unique_keys or {})
    if known_locally is not None:
        await opening.local.doubt(known_locally)
        return Known(known_locally, known_locally=True)
    if local_only or opening.local.policy.nobody:
        return None
    catalog = await opening.catalog()
    in_store = await catalog.lookup.by_request(req_id, arch, unique_keys or {})
    if in_store is None:
        return None
    await catalog.doubt(in_store)
    return Known(in_store, known_locally=False)
