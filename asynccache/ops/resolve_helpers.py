"""Helper environments, below environments of PyPI packages: looked up before they are solved, and remembered.

So environments with the same Python share its conda packages, and what builds wheels is solved, cached and made on a
machine once (contract, section 5.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_known import default_of
from asynccache.ops.resolve_request import ResolveOptions
from asynccache.resolve.pypi.helper_environment import builder_environment
from asynccache.resolve.resolver import Problem, Solution


class Helpers:
    """Knows the helper environments of one call; see `HelperEnvironments`.

    An environment that keeps the packages of a base, or is to know nothing published after a day, takes no known one
    and leaves none: what it has below it is no answer for others.

    Args:
        opening: What is known is looked up there.
        options: How to resolve.
    """

    def __init__(self, opening: Opening, options: ResolveOptions) -> None:
        self._opening = opening
        self._options = options
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._found: dict[tuple[str, str], Solution] = {}
        self._new: set[tuple[str, str]] = set()

    async def below(self, problem: Problem, solve: Callable[[], Awaitable[Solution]]) -> Solution:
        """Return the helper environment that a problem asks for, solved at most once.

        Raises:
            AsyncCacheError: As `solve`; the store or this machine's list cannot be read.
        """
        if problem.base is not None:
            return await solve()
        key = (problem.request.req_id, problem.arch)
        async with self._turns.setdefault(key, asyncio.Lock()):
            if key not in self._found:
                known = await self._known(problem)
                self._found[key] = known or await solve()
                if known is None and problem.exclude_newer is None:
                    self._new.add(key)
            return self._found[key]

    async def _known(self, problem: Problem) -> Solution | None:
        if self._options.force or problem.exclude_newer is not None:
            return None
        req_id, arch = problem.request.req_id, problem.arch
        known = await default_of(req_id, arch, self._opening, local_only=self._options.local_only)
        return None if known is None else Solution(known.environment.packages)

    def new(self, environments: Iterable[ResolvedEnvironment]) -> list[ResolvedEnvironment]:
        """Return the helper environments below others that were solved in this call, as environments of their own."""
        result = []
        for environment in environments:
            if environment.environment_type == "pypi-only" and environment.accurate_source:
                arch, packages = environment.id.arch, environment.packages
                helper = builder_environment(environment.request, arch, packages, self._opening.settings)
                if (helper.id.req_id, arch) in self._new:
                    result.append(helper)
        return result
