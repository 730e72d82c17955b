"""What tests of the documentation run shown commands and programs in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asynccache.model.digest import digest_file
from tests.cli.resolving import serve
from tests.support.channel import cached_channel
from tests.support.hydration import channel_paths

NAMES = ("python", "python_abi", "tzdata", "six", "certifi")


class Shell:
    """Runs command lines in one directory, as one user whose channel is on this machine."""

    def __init__(self, directory: Path, channel: str) -> None:
        self.directory = directory
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "CONDA_"))},
            "HOME": str(directory / "home"),
            "XDG_CACHE_HOME": str(directory / "home/cache"),
            "METAFLOW_USER": "ann",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ASYNCCACHE_STORE": str(directory / "store"),
            "ASYNCCACHE_CHANNELS": f'["{channel}"]',
            "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
        }

    def __call__(self, line: str) -> str:
        done = subprocess.run(
            line, shell=True, cwd=self.directory, env=self._environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stderr}{done.stdout}"
        return done.stdout


@contextmanager
def real_shell(directory: Path) -> Iterator[Shell]:
    """Yield a shell in a directory with a list and requirements of a Python that is in the shell's channel."""
    channel = cached_channel("small")
    with serve(channel.root) as url:
        lines = [f"{p.as_uri()}#{digest_file(str(p), 'md5').md5}" for p in channel_paths(channel, *NAMES)]
        (directory / "environment.txt").write_text("\n".join(["@EXPLICIT", *lines]))
        (directory / "environment.yml").write_text("dependencies: [python, six]\n")
        (directory / "script.py").write_text("import six\nprint(six.__name__)\n")
        yield Shell(directory, url)
