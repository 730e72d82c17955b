"""Bringing what was resolved into the store: packages first, then the documents that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_request import Group
from asynccache.ops.resolve_result import Row
from asynccache.ops.warm import Warm


async def publish(
    opening: Opening, group: Group, rows: Mapping[str, Row], helpers: Sequence[ResolvedEnvironment] = ()
) -> dict[str, Row]:
    """Cache the packages of environments and publish their documents; return their rows, failures in them.

    Environments that were resolved together are published together: their documents name each other.

    Args:
        opening: Engine and catalog.
        group: Whose environments.
        rows: Architecture -> row with an environment.
        helpers: Parts of those environments that are published as environments of their own.

    Raises:
        StoreError: The store cannot be listed or written.
    """
    engine, catalog = await opening.engine(), await opening.catalog()
    wanted = opening.settings.wanted_format
    solved = not any(row.known for row in rows.values())
    warming = Warm(engine, catalog, to="remote", wanted=wanted, verify=False, together=True, vouch=solved)
    environments = [(group.name, row.environment) for row in rows.values() if row.environment is not None]
    parts = [(group.name, helper) for helper in helpers]
    readiness = await warming.run([*environments, *parts])
    result = {}
    for row, ready in zip(rows.values(), readiness.rows[: len(environments)], strict=True):
        stored = readiness.documents.get(ready.id, row.environment)
        errors = {**row.errors, **ready.errors}
        # of what was known before, no index was asked
        sizes = {**readiness.sizes, **row.sizes}
        published, digest = bool(ready.published), readiness.digests.get(ready.id, row.digest)
        result[row.arch] = replace(
            row, environment=stored, published=published, errors=errors, sizes=sizes, digest=digest
        )
    if not all(row.published for row in result.values()):
        note = f"{group.name} is not recorded, because some of its packages are missing"
        return {a: r if r.published else replace(r, notes=(*r.notes, note)) for a, r in result.items()}
    return result
