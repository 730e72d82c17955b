"""Who resolves: from the settings and the kind of environment to a resolver (contract, sections 8 and 10)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from asynccache.config import Settings
from asynccache.errors import ResolverMissingError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ENVIRONMENT_TYPES
from asynccache.resolve.find_programs import CONDA_PROGRAMS, find_program
from asynccache.resolve.resolver import PrefixMaker, Problem, Resolver, Solution

_DEFAULT_CONDA: Final = "mamba"
# Name in the settings -> module and class; imported when chosen, since each brings libraries of its own.
_CLASSES: Final = {
    "rattler": ("rattler_solver", "RattlerResolver"),
    "uv": ("uv_resolver", "UvResolver"),
    "pip": ("pip_resolver", "PipResolver"),
    "builtin": ("mixed", "BuiltinMixedResolver"),
    "conda-lock": ("conda_lock_tool", "CondaLockResolver"),
    **dict.fromkeys(CONDA_PROGRAMS, ("conda_executable", "CondaExecutableResolver")),
}


@dataclass(slots=True)
class Noted:
    """A resolver whose solutions carry a note on why it was chosen.

    Attributes:
        resolver: Who solves.
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
    """Return who resolves environments of a type. Keep it for several problems: they share what it fetches.

    Args:
        settings: `conda_dependency_resolver`, `pypi_dependency_resolver` and `mixed_dependency_resolver` decide.
        environment_type: `conda-only`, `pypi-only` or `mixed`.
        prefix: Makes the prefixes that some resolvers run programs of.
        environ: Environment variables that programs are found by; the process's own when None.

    Raises:
        ResolverMissingError: The one that was asked for is not on this machine, or none is to be used.
        UsageError: There is no such type.
    """
    env = os.environ if environ is None else environ
    if environment_type not in ENVIRONMENT_TYPES:
        raise UsageError(
            "an environment has an unknown type", expected=", ".join(ENVIRONMENT_TYPES), found=environment_type
        )
    if environment_type == "conda-only":
        return _for_conda(settings, env)
    if environment_type == "pypi-only":
        _refuse_none(settings.pypi_dependency_resolver, environment_type)
        return _with_conda(settings.pypi_dependency_resolver, settings, prefix)
    _refuse_none(settings.mixed_dependency_resolver, environment_type)
    return _for_mixed(settings, prefix, env)


def _for_conda(settings: Settings, env: Mapping[str, str]) -> Resolver:
    asked = settings.conda_dependency_resolver
    if asked in CONDA_PROGRAMS:
        return _made(asked)(settings, asked, environ=env)
    if asked is None and find_program(_DEFAULT_CONDA, settings, environ=env) is not None:
        return _made(_DEFAULT_CONDA)(settings, _DEFAULT_CONDA, environ=env)
    builtin = _made("rattler")(settings)
    if asked is not None:
        return builtin
    return Noted(builtin, f"No {_DEFAULT_CONDA} was found, so the built-in resolver rattler is used.")


def _for_mixed(settings: Settings, prefix: PrefixMaker | None, env: Mapping[str, str]) -> Resolver:
    asked = settings.mixed_dependency_resolver
    if asked == "builtin":
        return _with_conda("builtin", settings, prefix)
    missing = [] if find_program("conda-lock", settings, environ=env) else ["conda-lock"]
    if not any(find_program(name, settings, environ=env) for name in CONDA_PROGRAMS):
        missing.append("a conda program")
    if asked is None and missing:
        builtin = _with_conda("builtin", settings, prefix)
        what = " and ".join(missing)
        return Noted(
            builtin,
            f"{what[0].upper()}{what[1:]} {'was' if len(missing) == 1 else 'were'} not found, so mixed"
            " environments are resolved by the built-in way.",
        )
    return _made("conda-lock")(settings, environ=env)


def _with_conda(name: str, settings: Settings, prefix: PrefixMaker | None) -> Resolver:
    return _made(name)(settings, prefix=prefix, conda=_made("rattler")(settings))


def _made(name: str) -> Callable[..., Resolver]:
    module, cls = _CLASSES[name]
    found: Callable[..., Resolver] = getattr(importlib.import_module(f"asynccache.resolve.{module}"), cls)
    return found


def _refuse_none(value: str | None, environment_type: str) -> None:
    if value == "none":
        setting = f"{environment_type.removesuffix('-only')}_dependency_resolver"
        raise ResolverMissingError(
            f"Cannot resolve a {environment_type} environment: no resolver is configured",
            hint=f"the setting {setting} is `none`; set it to another",
        )
