"""What an activated environment adds to a process: variables and scripts, as conda's activation documents them.

Variables come from the prefix itself, from `etc/conda/env_vars.d/*.json` and then from `conda-meta/state`; scripts are
`etc/conda/activate.d/*.sh`, in the order of their names. Another environment that is active is left: its programs are
taken out of PATH. All functions block.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asynccache.errors import HydrationError


@dataclass(frozen=True, slots=True)
class Activation:
    """How to run something in an environment.

    Attributes:
        variables: The whole environment of the process, but for what scripts add.
        scripts: For a shell to read first.
    """

    variables: Mapping[str, str]
    scripts: tuple[Path, ...]

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the program and arguments that run a command after the scripts; its exit code stays the command's."""
        if not self.scripts:
            return list(words)
        return [_shell(), "-c", f'{self._reading()}exec "$@"', words[0], *words]

    def shell(self, shell: str, rc_file: Path) -> list[str]:
        """Return the program and arguments of an interactive shell.

        Args:
            shell: Path of the user's shell.
            rc_file: Where what a bash reads at its start can be written.
        """
        if Path(shell).name != "bash":
            return self.command([shell, "-i"])
        prompt = shlex.quote(self.variables["CONDA_PROMPT_MODIFIER"])
        text = f"[ -f ~/.bashrc ] && . ~/.bashrc\nexport PATH={shlex.quote(self.variables['PATH'])}\n"
        rc_file.write_text(f'{text}{self._reading()}PS1={prompt}"$PS1"\n', encoding="utf-8")
        return [shell, "--rcfile", str(rc_file), "-i"]

    def _reading(self) -> str:
        return "".join(f". {shlex.quote(str(script))}\n" for script in self.scripts)


def activate(prefix: Path, environments: Path, environ: Mapping[str, str]) -> Activation:
    """Return the activation of an environment.

    Args:
        prefix: Where it is.
        environments: Directory of environments that are known by their names.
        environ: Variables to start from.

    Raises:
        HydrationError: Variables that the environment brings cannot be read.
    """
    name = prefix.name if prefix.parent == environments else str(prefix)
    left = {f"{environ['CONDA_PREFIX']}/bin"} if environ.get("CONDA_PREFIX") else set()
    path = [p for p in environ.get("PATH", os.defpath).split(os.pathsep) if p and p not in left | {f"{prefix}/bin"}]
    variables = {
        **environ,
        "PATH": os.pathsep.join([f"{prefix}/bin", *path]),
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": name,
        "CONDA_SHLVL": "1",
        "CONDA_PROMPT_MODIFIER": f"({name}) ",
    }
    for variable in ("PYTHONHOME", "VIRTUAL_ENV"):
        variables.pop(variable, None)
    for source in [*sorted((prefix / "etc/conda/env_vars.d").glob("*.json")), prefix / "conda-meta/state"]:
        variables |= _variables(source)
    return Activation(variables, tuple(sorted((prefix / "etc/conda/activate.d").glob("*.sh"))))


def _variables(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
        values = document.get("env_vars", {}) if path.name == "state" else document
        return {str(k): str(v) for k, v in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as exc:
        raise HydrationError(f"the variables in {path} cannot be read ({exc})") from exc


def _shell() -> str:
    return shutil.which("bash") or "/bin/sh"
