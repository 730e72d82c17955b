"""The command line on a channel and an index of this machine, as tests of resolving need it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.command_line import run_command

REPOSITORY: Final = Path(__file__).parents[2]
Result = subprocess.CompletedProcess[str]


@contextmanager
def serve(root: Path, *words: str) -> Iterator[str]:
    """Serve a channel from a process of its own."""
    command = [sys.executable, "-m", "tests.support.fault_server", str(root), "--ttl", "300", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@dataclass
class Commands:
    """Runs commands in a directory that nothing else knows.

    Attributes:
        directory: Home and current directory.
        channel: Address of the only conda channel.
        index: Address of the only PyPI index; empty for none.
        more: Further variables.
        store: Root of the store.
    """

    directory: Path
    channel: str
    index: str = ""
    more: dict[str, str] = field(default_factory=dict)
    store: str = "st"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a command."""
        beginnings = ("ASYNCCACHE_", "METAFLOW_", "CONDA_", "PIP_", "UV_")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(beginnings)}
        return {
            **clean,
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / "xdg"),
            "METAFLOW_USER": "ann",
            "PIP_CONFIG_FILE": os.devnull,
            "ASYNCCACHE_CHANNELS": json.dumps([self.channel]),
            "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
            "ASYNCCACHE_MIXED_DEPENDENCY_RESOLVER": "builtin",
            "ASYNCCACHE_PIN_VIRTUAL_PACKAGES": "true",
            **({"ASYNCCACHE_DEFAULT_PYPI_SOURCE": self.index} if self.index else {}),
            **self.more,
            **more,
        }

    def __call__(self, *arguments: str | Path, code: int | None = 0, **more: Any) -> Result:
        """Run a command with further variables; it must end with `code`, None for any."""
        words = [*arguments, "--store", self.store]
        result = run_command(words, cwd=self.directory, env=self.environment(**more))
        assert code is None or result.returncode == code, result.stderr + result.stdout
        assert "asynccache_cli" not in result.stderr  # as in a traceback of ours
        return result

    def resolve(self, *arguments: str | Path, **more: Any) -> list[dict[str, Any]]:
        """Resolve; return the rows."""
        rows: list[dict[str, Any]] = json.loads(self("resolve", *arguments, "--json", **more).stdout)["environments"]
        return rows

    def written(self) -> list[str]:
        """Return the files of the store and of the list of environments."""
        return [str(p) for d in ("st", ".metaflow") for p in sorted((self.directory / d).rglob("*")) if p.is_file()]
