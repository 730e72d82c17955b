"""Choosing a resolver by the settings and the type of environment (contract, sections 8 and 10)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from asynccache.config import Settings
from asynccache.errors import ResolverMissingError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ENVIRONMENT_TYPES
from asynccache.node.resolver_table import RESOLVERS
from asynccache.resolve.conda.find_programs import CONDA_PROGRAMS, find_program
from asynccache.resolve.resolver import PrefixMaker, Problem, Resolver, Solution

_DEFAULT_CONDA: Final = "mamba"
_BUILT_IN: Final = "rattler"
_DEFAULT_MIXED: Final = "conda-lock"
_BUILT_IN_MIXED: Final = "builtin"


@dataclass(slots=True)
class Noted:
    """A resolver whose solutions carry a note on why it was chosen.

    Attributes:
        resolver: The resolver.
        note: One sentence.
    """

    resolver: Resolver
    note: str

    @property
    def name(self) -> str:
        """The resolver's name."""
        return self.resolver.name

    async def resolve(self, problem: Problem) -> Solution:
        """Solve, and add the note."""
        solution = await self.resolver.resolve(problem)
        return replace(solution, notes=(self.note, *solution.notes))


def choose_resolver(
    settings: Settings,
    environment_type: str,
    prefix: PrefixMaker | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Resolver:
    """Return the resolver for a type of environment. Reuse it for several problems: they share what it fetches.

    Args:
        settings: `conda_dependency_resolver`, `pypi_dependency_resolver` and `mixed_dependency_resolver` decide.
        environment_type: `conda-only`, `pypi-only` or `mixed`.
        prefix: Creates the prefixes that some resolvers run programs from.
        environ: Environment variables by which programs are found; None for the process's own.

    Raises:
        ResolverMissingError: The requested resolver is not on this machine, or none may be used.
        UsageError: There is no such type.
    """
    env = os.environ if environ is None else environ
    if environment_type not in ENVIRONMENT_TYPES:
        raise UsageError(
            "an environment has an unknown type", expected=", ".join(ENVIRONMENT_TYPES), found=environment_type
        )
    make = partial(_made, settings=settings, prefix=prefix, environ=env)
    if environment_type == "conda-only":
        return _for_conda(settings, env, make)
    if environment_type == "pypi-only":
        _refuse_none(settings.pypi_dependency_resolver, environment_type)
        return make(settings.pypi_dependency_resolver)
    _refuse_none(settings.mixed_dependency_resolver, environment_type)
    return _for_mixed(settings, env, make)


def _for_conda(settings: Settings, env: Mapping[str, str], make: Callable[[str], Resolver]) -> Resolver:
    if settings.conda_dependency_resolver is not None:
        return make(settings.conda_dependency_resolver)
    if find_program(_DEFAULT_CONDA, settings, environ=env) is not None:
        return make(_DEFAULT_CONDA)
    return Noted(make(_BUILT_IN), f"No {_DEFAULT_CONDA} was found, so the built-in resolver {_BUILT_IN} is used.")


def _for_mixed(settings: Settings, env: Mapping[str, str], make: Callable[[str], Resolver]) -> Resolver:
    if settings.mixed_dependency_resolver is not None:
        return make(settings.mixed_dependency_resolver)
    missing = [] if find_program(_DEFAULT_MIXED, settings, environ=env) else [_DEFAULT_MIXED]
    if not any(find_program(name, settings, environ=env) for name in CONDA_PROGRAMS):
        missing.append("a conda program")
    if not missing:
        return make(_DEFAULT_MIXED)
    what = " and ".join(missing)
    return Noted(
        make(_BUILT_IN_MIXED),
        f"{what[0].upper()}{what[1:]} {'was' if len(missing) == 1 else 'were'} not found, so mixed environments are"
        " resolved by the built-in way.",
    )


def _made(name: str, *, settings: Settings, prefix: PrefixMaker | None, environ: Mapping[str, str]) -> Resolver:
    """Return a resolver by its line of the table, with the arguments that it takes."""
    line = RESOLVERS[name]
    module, _colon, cls = line.place.partition(":")
    parts: dict[str, Callable[[], object]] = {
        "program": lambda: name,
        "environ": lambda: environ,
        "prefix": lambda: prefix,
        "conda": lambda: _made(_BUILT_IN, settings=settings, prefix=prefix, environ=environ),
    }
    made: Callable[..., Resolver] = getattr(importlib.import_module(f"asynccache.resolve.{module}"), cls)
    return made(settings, **{part: parts[part]() for part in line.takes})


def _refuse_none(value: str | None, environment_type: str) -> None:
    if value == "none":
        setting = f"{environment_type.removesuffix('-only')}_dependency_resolver"
        raise ResolverMissingError(
            f"Cannot resolve a {environment_type} environment: no resolver is configured",
            hint=f"the setting {setting} is `none`; set it to another",
        )
