"""Finding conda's programs on this machine (contract, section 4.1).

With `conda_local_path` set, only that installation counts, and only if it is complete. Otherwise, a micromamba that a
remote bootstrap left beside or in the current directory serves as conda and micromamba, and no other program is used.
Otherwise `PATH` is searched; micromamba is also looked for in `~/.local/bin`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.errors import ResolverMissingError
from asynccache.model.dataclass import dataclass
from asynccache.node.resolver_table import RESOLVERS, names_of

CONDA_PROGRAMS: Final = tuple(name for name in names_of("conda") if "program" in RESOLVERS[name].takes)
COMPLETE: Final = ".metaflow-local-env"
"""File that an installation below `conda_local_path` has when it is whole."""
_BOOTSTRAPPED: Final = (Path("..") / "conda_env" / "micromamba", Path("conda_env") / "micromamba")
_OLDEST: Final = {
    "micromamba": "1.4.0",
    "mamba": "2.0.0",
    "conda": "4.14.0",
    "conda-lock": "2.4.0",
}
_INSTALL: Final = {
    "mamba": "install it with Miniforge (https://conda-forge.org/download)",
    "conda": "install it with Miniforge (https://conda-forge.org/download)",
    "micromamba": "install it into ~/.local/bin (https://mamba.readthedocs.io, `micromamba installation`)",
    "conda-lock": "install it with `pipx install conda-lock`",
}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found.

    Attributes:
        path: Absolute.
        root: The installation in `conda_local_path`; None for any other.
    """

    path: Path
    root: Path | None = None


def find_program(
    name: str, settings: Settings, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Program | None:
    """Return a program, None if this machine has none of this name.

    Args:
        name: `mamba`, `conda`, `micromamba` or `conda-lock`.
        settings: `conda_local_path` is used.
        environ: Environment variables; None for the process's own.
        cwd: Directory beside which a bootstrapped micromamba is; None for the current one.
    """
    env = os.environ if environ is None else environ
    if settings.conda_local_path is not None:
        root = settings.conda_local_path.expanduser().absolute()
        path = root / "bin" / name
        return Program(path, root) if (root / COMPLETE).is_file() and runs(path) else None
    here = Path.cwd() if cwd is None else cwd
    for place in _BOOTSTRAPPED:
        if runs(here / place):
            return Program((here / place).resolve()) if name in {"conda", "micromamba"} else None
    directories = env.get("PATH", os.defpath)
    if name == "micromamba" and env.get("HOME"):
        directories += os.pathsep + str(Path(env["HOME"]) / ".local" / "bin")
    found = shutil.which(name, path=directories)
    return Program(Path(found).absolute()) if found else None


def require_program(
    name: str, settings: Settings, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Program:
    """Return a program; arguments as for `find_program`.

    Raises:
        ResolverMissingError: This machine has none of this name; the message says how to get it, and what works without
            it.
    """
    program = find_program(name, settings, environ=environ, cwd=cwd)
    if program is None:
        where = ""
        if settings.conda_local_path is not None:
            root = settings.conda_local_path.expanduser().absolute()
            whole = (root / COMPLETE).is_file()
            where = f" at {root / 'bin' / name}" + ("" if whole else f": {root} has no {COMPLETE}, so it is not whole")
        raise ResolverMissingError(
            f"Could not find conda binary for {name}{where}",
            hint=f"{_INSTALL[name]}, or {instead_of(name)}",
        )
    return program


def require_version(program: Program, kind: str, found: str | None) -> None:
    """Refuse a program that is too old.

    Args:
        program: Its path.
        kind: What it is: `mamba`, `conda`, `micromamba` or `conda-lock`.
        found: The version that it reports; None if it reports none.

    Raises:
        ResolverMissingError: It is too old, or its version cannot be read.
    """
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - not needed to look for a program

    try:
        new_enough = found is not None and Version(found) >= Version(_OLDEST[kind])
    except InvalidVersion:
        new_enough = False
    if not new_enough:
        raise ResolverMissingError(
            f"{program.path} is not a {kind} that can be used",
            expected=f"{kind} {_OLDEST[kind]} or newer",
            found=found or "no version",
            hint=f"update it, or {instead_of(kind)}",
        )


def instead_of(name: str) -> str:
    """Return what can be done without a program."""
    if name == "conda-lock":
        return "set mixed_dependency_resolver to `builtin`, which needs no program"
    return "set conda_dependency_resolver to `rattler`, which is built in and needs nothing"


def runs(path: Path) -> bool:
    """Return whether an executable file exists."""
    return path.is_file() and os.access(path, os.X_OK)
