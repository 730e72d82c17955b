"""What an activated environment adds to a process: variables and scripts, as conda's activation documents them.

Variables come from the prefix itself, from `etc/conda/env_vars.d/*.json` and then from `conda-meta/state`; scripts are
`etc/conda/activate.d/*.sh`, in the order of their names. Another active environment is deactivated: its programs are
removed from PATH. All functions block.
"""

from __future__ import annotations

import glob
import os
import shlex
from typing import Iterable, Mapping

from asynccache.errors import HydrationError
from asynccache.node.json_text import read_json


def activated(prefix: str, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process in an activated environment, except those that its scripts add.

    Args:
        prefix: The environment's path.
        name: Its name in `CONDA_DEFAULT_ENV` and the prompt.
        environ: Variables to start from.

    Raises:
        HydrationError: Variables of the environment cannot be read.
    """
    programs = prefix + "/bin"
    left = {programs, environ["CONDA_PREFIX"] + "/bin" if environ.get("CONDA_PREFIX") else programs}
    path = [part for part in environ.get("PATH", os.defpath).split(os.pathsep) if part and part not in left]
    variables = {
        **environ,
        "PATH": os.pathsep.join([programs, *path]),
        "CONDA_PREFIX": prefix,
        "CONDA_DEFAULT_ENV": name,
        "CONDA_SHLVL": "1",
        "CONDA_PROMPT_MODIFIER": f"({name}) ",
    }
    for variable in ("PYTHONHOME", "VIRTUAL_ENV"):
        variables.pop(variable, None)
    from_packages = sorted(glob.glob(os.path.join(glob.escape(prefix), "etc/conda/env_vars.d/*.json")))
    for source in [*from_packages, os.path.join(prefix, "conda-meta/state")]:
        variables.update(_variables(source))
    return variables


def activation_scripts(prefix: str) -> list[str]:
    """Return the paths of the scripts that a shell reads when an environment is activated, in order."""
    return sorted(glob.glob(os.path.join(glob.escape(prefix), "etc/conda/activate.d/*.sh")))


def reading(scripts: Iterable[object]) -> str:
    """Return shell commands that read scripts, one per line."""
    return "".join(f". {shlex.quote(str(script))}\n" for script in scripts)


def _variables(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            document = read_json(file.read())
        values = document.get("env_vars", {}) if os.path.basename(path) == "state" else document
        return {str(k): str(v) for k, v in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as exc:
        raise HydrationError(f"the variables in {path} cannot be read ({exc})") from exc
