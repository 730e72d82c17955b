"""Where conda's programs keep environments on this machine, found without running one of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.engine.conda_files import configuration_files
from asynccache.resolve.conda.configuration import environment_directories
from asynccache.resolve.conda.find_programs import CONDA_PROGRAMS, Program, find_program

_VARIABLES: Final = ("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH", "MAMBA_ENVS_DIRS")
_MICROMAMBA: Final = ("micromamba", ".local/share/mamba")  # below the user's home directory
_ENVIRONMENTS: Final = "envs"


def conda_program(settings: Settings, environ: Mapping[str, str]) -> tuple[str, Program | None]:
    """Return the name and path of the conda program in use on this machine; None if there is none."""
    asked = settings.conda_dependency_resolver
    for name in CONDA_PROGRAMS if asked is None else (asked,):
        if name in CONDA_PROGRAMS and (found := find_program(name, settings, environ=environ)) is not None:
            return name, found
    return "", None


def installation_roots(name: str, program: Program | None, environ: Mapping[str, str]) -> list[Path]:
    """Return the installations that a conda program may belong to."""
    roots = [program.path.resolve().parent.parent] if program is not None else []
    if name == "micromamba":
        roots += [Path(environ.get("HOME") or os.devnull, below) for below in _MICROMAMBA]
    return roots


def conda_environments(settings: Settings, environ: Mapping[str, str] | None = None) -> list[Path]:
    """Return the directories in which conda programs create environments, the likeliest first. Blocking.

    Args:
        settings: `conda_local_path` and `conda_dependency_resolver` count.
        environ: Environment variables; the process's own when None.

    Raises:
        ConfigurationError: A configuration file cannot be read.
    """
    env = os.environ if environ is None else environ
    if settings.conda_local_path is not None:
        return [settings.conda_local_path.expanduser().absolute() / _ENVIRONMENTS]
    name, program = conda_program(settings, env)
    roots = installation_roots(name, program, env)
    home = Path(env.get("HOME") or os.devnull)
    named = [Path(root) for variable in ("MAMBA_ROOT_PREFIX", "CONDA_ROOT") if (root := env.get(variable))]
    found = [Path(text) for variable in _VARIABLES for text in env.get(variable, "").split(os.pathsep) if text]
    found += environment_directories(configuration_files(env, roots), env)
    found += [root / _ENVIRONMENTS for root in (*named, *roots, home / ".conda")]
    return list(dict.fromkeys(path.expanduser() for path in found if path.is_absolute() or str(path)[:1] == "~"))
