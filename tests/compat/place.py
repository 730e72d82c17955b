"""One root, and how both sides reach it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ASYNCCACHE: Final = Path(sys.executable).with_name("asynccache")
SIDE: Final = Path(__file__).with_name("extension_side.py")
_SECONDS: Final = 300


@dataclass(slots=True)
class Place:
    """One root, and how both sides reach it.

    Attributes:
        name: As it is shown.
        root: The store's root.
        datastore: Metaflow's name for its kind.
        environment: Variables for both sides.
        directory: Scratch.
        python: Interpreter of the other side.
        launcher: That of our own side, with Metaflow.
    """

    name: str
    root: str
    datastore: str
    environment: dict[str, str]
    directory: Path
    python: Path
    launcher: Path
    failed: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    def check(self, sentence: str, holds: object, detail: object = "") -> None:
        """Note a check."""
        (self.passed if holds else self.failed).append(sentence)
        say(f"{'pass' if holds else 'FAIL'}  {self.name}: {sentence}{'' if holds else f' ({detail})'}")

    def ours(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run our command line."""
        return self.run([str(ASYNCCACHE), *words, "--store", self.root])

    def theirs(self, *words: str) -> dict[str, Any]:
        """Run the extension's half; return what it printed."""
        result = self.run([str(self.python), str(SIDE), *words])
        if result.returncode:
            raise RuntimeError(f"the extension failed: {result.stderr[-3000:]}")
        document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return document

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the variables of both sides, and more of them."""
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.directory, env={**self.variables, **more},
            timeout=_SECONDS, check=False,
        )  # fmt: skip

    @property
    def variables(self) -> dict[str, str]:
        """The variables of both sides."""
        others = ("ASYNCCACHE_", "METAFLOW_", "AWS_", "AZURE_", "IDENTITY_", "GOOGLE_", "STORAGE_EMULATOR_HOST")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        return {
            **clean,
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            "METAFLOW_USER": "tester",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.directory / "here"),
            "METAFLOW_DEFAULT_DATASTORE": self.datastore,
            "METAFLOW_CONDA_DEPENDENCY_RESOLVER": "micromamba",
            "ASYNCCACHE_CHANNELS": "[]",
            "PATH": f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **self.environment,
        }


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
