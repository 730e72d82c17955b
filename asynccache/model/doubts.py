"""Inconsistencies in an environment's document, which may mean that it was changed.

The id in a key counts (contract, section 1.4): inconsistencies are reported and never refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asynccache.errors import UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import co_resolved_full_id, full_id


def doubts(environment: ResolvedEnvironment, together: Sequence[ResolvedEnvironment] = ()) -> list[str]:
    """Return the inconsistencies in a document, one sentence each.

    Args:
        environment: The environment.
        together: Those that were resolved together with it for other architectures, as far as available.
    """
    found = []
    env_id, request = environment.id, environment.request
    if request.req_id != env_id.req_id:
        found.append(f"its requirements amount to req_id {request.req_id}, not {env_id.req_id}")
    computed = list(_full_ids(environment, together))
    if computed and env_id.full_id not in computed:
        found.append(f"its packages amount to full_id {computed[0]}, not {env_id.full_id}")
    for package in environment.packages:
        for fmt, key in package.cached.items():
            digest = key.split("/")[-2] if key.count("/") > 1 else ""
            if package.hashes.get(fmt) not in {None, digest}:
                found.append(f"{package.filename}{fmt} has the digest {package.hashes[fmt]} and the key of {digest}")
    return found


def _full_ids(environment: ResolvedEnvironment, together: Sequence[ResolvedEnvironment]) -> Iterator[str]:
    """Yield the ids by every formula that can apply: a digest may have been learned after the id was computed."""
    by_arch = {e.id.arch: e for e in (*together, environment)}
    archs = environment.resolved_archs or (environment.id.arch,)
    if any(arch not in by_arch for arch in archs):
        return
    for known in (_recorded, _not_of_locks, _not_with_sha256, _none):
        entries = {arch: [(p.filename, known(p)) for p in by_arch[arch].packages] for arch in archs}
        try:
            if len(archs) > 1:
                yield co_resolved_full_id(entries)
            else:
                yield full_id(entries[archs[0]], environment.id.arch, environment.unique_keys)
        except UsageError:
            return


def _recorded(package: EnvironmentPackage) -> str | None:
    return package.published_hash


def _not_of_locks(package: EnvironmentPackage) -> str | None:
    """Locks of PyPI packages put the digest under the key `sha256`; caching adds it under the format's later."""
    return None if package.kind == "pypi" and "sha256" in package.hashes else package.published_hash


def _not_with_sha256(package: EnvironmentPackage) -> str | None:
    return None if "sha256" in package.hashes else package.published_hash


def _none(_package: EnvironmentPackage) -> str | None:
    return None
