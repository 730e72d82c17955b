"""How to run a command or a shell in an activated environment. All functions block."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.hydrate.prefix import environments_directory
from asynccache.model.dataclass import dataclass
from asynccache.node.activation import activated, activation_scripts, reading


@dataclass(frozen=True, slots=True)
class Activation:
    """How to run something in an environment.

    Attributes:
        prefix: Its path.
        variables: All variables of the process, except those that scripts add.
        scripts: For a shell to read first.
        words: What to execute: a program and its arguments; empty if nothing was requested yet.
    """

    prefix: Path
    variables: Mapping[str, str]
    scripts: tuple[Path, ...]
    words: tuple[str, ...] = ()

    def running(self, words: Sequence[str]) -> Activation:
        """Return it with a command to be run after the scripts; its exit code stays the command's.

        Raises:
            UsageError: There is no command.
        """
        if not words:
            raise UsageError("there is nothing to run", hint="`asynccache run ENV -- COMMAND`")
        if not self.scripts:
            return replace(self, words=tuple(words))
        return replace(self, words=(_shell(), "-c", f'{reading(self.scripts)}exec "$@"', words[0], *words))

    def shell(self, shell: str) -> Activation:
        """Return it with an interactive shell. Blocking: what bash reads at its start is written to a file.

        Args:
            shell: Path of the user's shell.
        """
        if Path(shell).name != "bash":
            return self.running([shell, "-i"])
        descriptor, name = tempfile.mkstemp(prefix="asynccache-rc-")
        prompt = shlex.quote(self.variables["CONDA_PROMPT_MODIFIER"])
        text = f"[ -f ~/.bashrc ] && . ~/.bashrc\nexport PATH={shlex.quote(self.variables['PATH'])}\n"
        os.close(descriptor)
        Path(name).write_text(f'{text}{reading(self.scripts)}PS1={prompt}"$PS1"\nrm -f {shlex.quote(name)}\n', "utf-8")
        return replace(self, words=(shell, "--rcfile", name, "-i"))

    def as_document(self) -> dict[str, object]:
        """Return it as plain values, with only those variables that differ from this process's."""
        changed = {k: v for k, v in self.variables.items() if os.environ.get(k) != v}
        scripts = [str(script) for script in self.scripts]
        return {"prefix": str(self.prefix), "words": list(self.words), "variables": changed, "scripts": scripts}


def activate(prefix: Path, settings: Settings, environ: Mapping[str, str]) -> Activation:
    """Return the activation of an environment.

    Args:
        prefix: Its path.
        settings: Settings that say which environments are known by name.
        environ: Variables to start from.

    Raises:
        HydrationError: Variables of the environment cannot be read.
    """
    name = prefix.name if prefix.parent == environments_directory(settings) else str(prefix)
    scripts = tuple(map(Path, activation_scripts(str(prefix))))
    return Activation(prefix, activated(str(prefix), name, environ), scripts)


def _shell() -> str:
    return shutil.which("bash") or "/bin/sh"
