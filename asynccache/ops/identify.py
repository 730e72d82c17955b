"""Giving newly resolved environments their identity (contract, section 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID, co_resolved_full_id

UNIDENTIFIED: Final = "_unresolved"  # stands for the full id until the packages are known


def identified(environments: Sequence[ResolvedEnvironment]) -> list[ResolvedEnvironment]:
    """Return environments of one request with the ids that their packages amount to.

    Several get one common id and name each other's architectures; one alone gets an id of its own.

    Args:
        environments: Environments of one request, each for another architecture; at least one.
    """
    archs = tuple(sorted(e.id.arch for e in environments))
    if len(environments) == 1:
        full_id = environments[0].computed_full_id()
    else:
        full_id = co_resolved_full_id(
            {e.id.arch: [(p.filename, p.published_hash) for p in e.packages] for e in environments}
        )
    return [replace(e, id=EnvID(e.request.req_id, full_id, e.id.arch), resolved_archs=archs) for e in environments]
