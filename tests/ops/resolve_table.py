"""A resolver that looks up what it answers in a table, for tests of everything around solving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.model.package import Package
from asynccache.ops.resolve_request import Wanted
from asynccache.resolve.requests.assemble import Assembled
from asynccache.resolve.resolver import PrefixMaker, Problem, Solution

ARCH = "linux-64"


@dataclass
class TableResolver:
    """Answers by the first conda requirement, for one architecture or for all.

    Attributes:
        answers: `NAME` or `NAME ARCH` -> packages, or what fails.
        seconds: How long one answer takes.
        before: What each answer waits for.
    """

    answers: Mapping[str, Sequence[EnvironmentPackage] | AsyncCacheError]
    seconds: float = 0.0
    before: Callable[[Problem], Awaitable[None]] | None = None
    notes: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "table"

    async def resolve(self, problem: Problem) -> Solution:
        self.problems.append(problem)
        if self.before is not None:
            await self.before(problem)
        await asyncio.sleep(self.seconds)
        name = problem.request.deps["conda"][0]
        answer = self.answers.get(f"{name} {problem.arch}", self.answers.get(name))
        assert answer is not None, name
        if isinstance(answer, AsyncCacheError):
            raise answer
        return Solution(tuple(answer), resolver=self.name, sizes={p.url: 1000 for p in answer}, notes=self.notes)

    def __call__(self, settings: Settings, environment_type: str, prefix: PrefixMaker) -> TableResolver:
        """Be what is chosen for every type."""
        del settings, environment_type, prefix
        return self


def found(packages: Sequence[Package], *, digests: bool = True) -> list[EnvironmentPackage]:
    """Return packages as a resolver reports them."""
    return [
        EnvironmentPackage(
            p.kind, p.stem, str(p.url), str(p.url_format), {str(p.url_format): p.digests.md5 or ""} if digests else {}
        )
        for p in packages
    ]


def wanted(
    name: str,
    *arches: str,
    aliases: Sequence[str] = (),
    sys: Sequence[str] = (),
    base: ResolvedEnvironment | None = None,
    compatible: bool = False,
    unique_keys: Mapping[str, str] | None = None,
    auth: Mapping[str, list[str]] | None = None,
) -> Wanted:
    """Ask for one package."""
    deps = {"conda": [name, "python==3.11.*"]} | ({"sys": list(sys)} if sys else {})
    request = Request(deps, {"conda": ["conda-forge"]})
    asked = {
        arch: Assembled(request, "conda-only", arch, auth or {}, base=base, compatible=compatible)
        for arch in arches or (ARCH,)
    }
    return Wanted(name, asked, tuple(aliases), unique_keys=unique_keys or {})
