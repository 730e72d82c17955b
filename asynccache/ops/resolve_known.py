"""What is known of a request already: on this machine, then in the store as far as the settings allow."""

from __future__ import annotations

from dataclasses import dataclass

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
            known = await _default(group, arch, opening, local_only=local_only)
            if known is not None:
                found[arch] = known
    if group.together and (
        len(found) < len(group.asked) or len({known.environment.id.full_id for known in found.values()}) > 1
    ):
        return {}
    return found


async def _default(group: Group, arch: str, opening: Opening, *, local_only: bool) -> Known | None:
    here = await opening.here.lookup.by_request(group.req_id, arch, group.unique_keys)
    if here is not None:
        return Known(here, here=True)
    if local_only or opening.here.policy.nobody:
        return None
    catalog = await opening.catalog()
    there = await catalog.lookup.by_request(group.req_id, arch, group.unique_keys)
    return None if there is None else Known(there, here=False)
