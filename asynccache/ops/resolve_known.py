"""What is known of a request already: on this machine, then in the store as far as the settings allow."""

from __future__ import annotations

from collections.abc import Mapping

from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_request import Group


@dataclass(frozen=True, slots=True)
class Known:
    """One environment that meets a request.

    Attributes:
        environment: Which.
        here: Whether this machine's list has it, as the default of its request.
    """

    environment: ResolvedEnvironment
    here: bool


async def look_up(group: Group, opening: Opening, *, local_only: bool) -> dict[str, Known]:
    """Return what is known, by architecture (contract, section 1.5).

    Of architectures that are asked for together either all are known under one id, or none counts.

    Raises:
        StoreError: The store cannot be opened or listed.
    """
    found: dict[str, Known] = {}
    for arch, asked in group.asked.items():
        if asked.base is not None and asked.base.id.req_id == asked.request.req_id:
            found[arch] = Known(asked.base, here=False)
        elif group.lock is None or group.unique_keys:
            known = await default_of(group.req_id, arch, opening, unique_keys=group.unique_keys, local_only=local_only)
            if known is not None:
                found[arch] = known
    if group.together and (
        len(found) < len(group.asked) or len({known.environment.id.full_id for known in found.values()}) > 1
    ):
        return {}
    return found


async def default_of(
    req_id: str, arch: str, opening: Opening, *, unique_keys: Mapping[str, str] | None = None, local_only: bool = False
) -> Known | None:
    """Return what a request means for an architecture; None when nothing is known.

    Raises:
        StoreError: The store cannot be opened or listed.
    """
    here = await opening.here.lookup.by_request(req_id, arch, unique_keys or {})
    if here is not None:
        return Known(here, here=True)
    if local_only or opening.here.policy.nobody:
        return None
    catalog = await opening.catalog()
    there = await catalog.lookup.by_request(req_id, arch, unique_keys or {})
    return None if there is None else Known(there, here=False)
