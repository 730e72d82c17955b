"""The program `uv`: where it is, its flags and its environment.

It runs without the user's configuration of uv and pip, which is part of the request already, and with a cache of its
own below `cache_dir`. Credentials are passed in its environment and, for single requirements, in a file that only this
user can read.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.errors import ResolverMissingError
from asynccache.model.dataclass import dataclass
from asynccache.resolve.pypi.problem import Logins, PypiProblem

_FINDING: Final = threading.Lock()
_OSX: Final = "14.0"  # as for wheels of another machine (python_target)
_OWN_VARIABLES: Final = ("UV_", "PIP_", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")


def find_uv() -> Path:
    """Return the program in the package `uv`.

    Raises:
        ResolverMissingError: It is not installed.
    """
    try:
        import uv  # noqa: PLC0415 - only to find the program

        # sysconfig shows other threads its variables before they are filled in
        with _FINDING:
            return Path(uv.find_uv_bin())
    except (ImportError, AttributeError, FileNotFoundError) as exc:
        if found := shutil.which("uv"):
            return Path(found)
        raise ResolverMissingError(
            "the program uv is not on this machine",
            hint="install the package uv, or set pypi_dependency_resolver to `pip`",
        ) from exc


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for uv, pip and builds without the user's configuration for other purposes."""
    kept = {key: value for key, value in environ.items() if not key.startswith(_OWN_VARIABLES)}
    # both wrap their messages at the width of the terminal
    return kept | {"COLUMNS": "10000"}


@dataclass(slots=True)
class UvProgram:
    """Runs uv.

    Args:
        settings: `cache_dir`, `auth`, time limits of connections.
        logins: Credentials for it.
        path: The program; None to find it.
    """

    settings: Settings
    logins: Logins
    path: Path = field(default_factory=find_uv)

    @property
    def flags(self) -> list[str | Path]:
        """Flags of every command."""
        return [
            "--no-config",
            "--no-sources",
            "--no-python-downloads",
            "--no-progress",
            "--color",
            "never",
            "--index-strategy",
            # the best version of all indexes counts, as with pip, not that of the first index with the name
            "unsafe-best-match",
            "--cache-dir",
            self.settings.cache_dir / "uv",
        ]

    def index_flags(self, problem: PypiProblem) -> list[str]:
        """Return the flags of commands that ask indexes; the rest is in the environment."""
        hosts = [word for host in problem.flags.trusted_hosts for word in ("--allow-insecure-host", host)]
        return [*(["--no-index"] if problem.flags.no_index else []), *hosts]

    def environment(self, problem: PypiProblem) -> dict[str, str]:
        """Return the environment, with the addresses of indexes and their credentials."""
        env = own_environment(os.environ) | {
            "UV_HTTP_TIMEOUT": str(max(1, round(self.settings.read_timeout))),
            "UV_HTTP_CONNECT_TIMEOUT": str(max(1, round(self.settings.connect_timeout))),
            "UV_HTTP_RETRIES": str(max(0, self.settings.attempts - 1)),
            "MACOSX_DEPLOYMENT_TARGET": self.settings.sys_default_packages.get(problem.arch, {})
            .get("__osx", _OSX)
            .partition("=")[0],
        }
        if "NETRC" in os.environ:
            env["NETRC"] = os.environ["NETRC"]
        if shutil.which("keyring"):
            env["UV_KEYRING_PROVIDER"] = "subprocess"
        if not problem.flags.no_index:
            # uv ranks the default index last, so the request's last one is passed as the default
            *first, last = [self.logins.address(index) for index in problem.indexes]
            env["UV_DEFAULT_INDEX"] = last
            if first:
                env["UV_INDEX"] = " ".join(first)
        if problem.flags.find_links:
            env["UV_FIND_LINKS"] = ",".join(map(self.logins.address, problem.flags.find_links))
        return env


def build_constraints(directory: Path) -> Path:
    """Write the file of constraints for builds, and return its path (contract, section 10.6)."""
    path = directory / "build-constraints.txt"
    path.write_text("setuptools<82\n", "utf-8")
    return path
