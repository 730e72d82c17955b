"""The program `uv`: one lock of PyPI requirements for a target, and what its failures mean.

It runs without the user's configuration of uv and pip, which has entered the request already, and with a cache of its
own below `cache_dir`. Credentials reach it in its environment, and, of single requirements, in a file that only this
user can read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.errors import IndexUnreachableError, ResolverMissingError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.resolve.explain import secrets_of
from asynccache.resolve.index_refusal import kept_logins
from asynccache.resolve.program import run_program
from asynccache.resolve.pypi_problem import Logins, PypiProblem
from asynccache.resolve.python_target import PythonTarget
from asynccache.resolve.uv_failures import failure

# The glibc versions that uv has a name for; for another one the next higher is asked for, and the answer checked.
_GLIBC: Final = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_FINDING: Final = threading.Lock()
_OSX: Final = "14.0"  # as for wheels of another machine (python_target)
_OWN_VARIABLES: Final = ("UV_", "PIP_", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True, slots=True)
class Lock:
    """What is to be locked.

    Attributes:
        problem: The requirements.
        python: Full version of the target's Python.
        glibc: Minor version of glibc 2 that uv is asked to suit.
        interpreter: Python that source packages are asked for their metadata with; None for the running one.
        constraints: Further lines that bind what is chosen, such as `name @ file:///...`.
        also: Further requirements, such as the names of packages that must be kept.
        exclude_newer: See `Problem`.
        offline: See `Problem`.
        fresh: See `Problem`.
    """

    problem: PypiProblem
    python: str
    glibc: int | None = None
    interpreter: Path | None = None
    constraints: Sequence[str] = ()
    also: Sequence[str] = ()
    exclude_newer: datetime | None = None
    offline: bool = False
    fresh: bool = False


def find_uv() -> Path:
    """Return the program that the package `uv` brings.

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


def nearest_glibc(minor: int) -> int:
    """Return the lowest glibc version, not lower than a given one, that uv has a name for.

    >>> nearest_glibc(27), nearest_glibc(31), nearest_glibc(99)
    (28, 31, 40)
    """
    return next((known for known in _GLIBC if known >= minor), _GLIBC[-1])


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for uv, pip and builds without what the user has configured for other purposes."""
    kept = {key: value for key, value in environ.items() if not key.startswith(_OWN_VARIABLES)}
    # both break the lines of what they say at the width of the terminal
    return kept | {"COLUMNS": "10000"}


@dataclass(slots=True)
class UvProgram:
    """Runs uv.

    Args:
        settings: `cache_dir`, `auth`, time limits of connections.
        path: The program; found when None.
    """

    settings: Settings
    path: Path = field(default_factory=find_uv)

    async def lock(self, lock: Lock, directory: Path, seconds: float) -> str:
        """Return a pylock.toml.

        Args:
            lock: What is to be locked.
            directory: Private directory for files that uv reads.
            seconds: How long it may take.

        Raises:
            ResolutionError: As `Resolver.resolve` says.
        """
        started = time.monotonic()
        logins = Logins(self.settings.auth)
        secrets = [*secrets_of(self.settings.auth), *logins.secrets(_addresses(lock.problem))]
        arguments = await asyncio.to_thread(self._arguments, lock, directory, logins)
        finished = await run_program(
            [self.path, *arguments],
            env=self.environment(lock.problem, logins),
            timeout=max(0.001, seconds),
            name=f"solving with uv for {lock.problem.arch}",
            cwd=directory,
        )
        if finished.returncode == 0:
            return finished.stdout
        # in a thread: an index may be asked whether it refuses
        error = await asyncio.to_thread(failure, finished, lock, secrets, logins)
        if isinstance(error, IndexUnreachableError) and not lock.offline:
            kept = await asyncio.to_thread(kept_logins, lock.problem, logins)
            if kept:
                self.settings = replace(self.settings, auth={**self.settings.auth, **kept})
                return await self.lock(lock, directory, seconds - (time.monotonic() - started))
        raise error

    def _arguments(self, lock: Lock, directory: Path, logins: Logins) -> list[str | Path]:
        problem = lock.problem
        requirements, constraints = directory / "requirements.in", directory / "constraints.txt"
        lines = [_line(requirement.pypi_spec, requirement.url, logins) for requirement in problem.requirements]
        requirements.write_text("\n".join([*lines, *lock.also]) + "\n", "utf-8")
        constraints.write_text("\n".join(lock.constraints) + "\n", "utf-8")
        arguments: list[str | Path] = [
            "pip",
            "compile",
            "--no-config",
            "--format",
            "pylock.toml",
            "--index-strategy",
            # the best version of all indexes counts, as with pip, not that of the first index that has the name
            "unsafe-best-match",
            "--no-header",
            "--no-annotate",
            "--no-progress",
            "--no-python-downloads",
            "--no-sources",
            "--color",
            "never",
            "--cache-dir",
            self.cache,
            "--python",
            lock.interpreter or sys.executable,
            "--python-version",
            lock.python,
            "--python-platform",
            _platform(PythonTarget(problem.arch, lock.python, lock.glibc)),
            "--constraints",
            constraints,
            "--build-constraints",
            build_constraints(directory),
        ]
        if problem.across:
            arguments.append("--no-build")
        if problem.flags.no_index:
            arguments.append("--no-index")
        if problem.flags.prereleases:
            arguments += ["--prerelease", "allow"]
        for host in problem.flags.trusted_hosts:
            arguments += ["--allow-insecure-host", host]
        if lock.exclude_newer is not None:
            arguments += ["--exclude-newer", lock.exclude_newer.isoformat()]
        if lock.offline:
            arguments.append("--offline")
        elif lock.fresh:
            arguments.append("--refresh")
        return [*arguments, requirements]

    @property
    def cache(self) -> Path:
        """Where uv keeps what indexes said."""
        return self.settings.cache_dir / "uv"

    def environment(self, problem: PypiProblem, logins: Logins) -> dict[str, str]:
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
            # uv ranks the default index last, so the last of the request is its default one
            *first, last = [logins.address(index) for index in problem.indexes]
            env["UV_DEFAULT_INDEX"] = last
            if first:
                env["UV_INDEX"] = " ".join(first)
        if problem.flags.find_links:
            env["UV_FIND_LINKS"] = ",".join(map(logins.address, problem.flags.find_links))
        return env


def build_constraints(directory: Path) -> Path:
    """Write the file that binds what builds get, and return its path (contract, section 10.6)."""
    path = directory / "build-constraints.txt"
    path.write_text("setuptools<82\n", "utf-8")
    return path


def _line(spec: str, url: str | None, logins: Logins) -> str:
    return spec if url is None else spec.replace(f"@ {url}", f"@ {logins.address(url)}")


def _platform(target: PythonTarget) -> str:
    if target.arch.startswith("osx"):
        return "aarch64-apple-darwin" if target.machine == "arm64" else "x86_64-apple-darwin"
    if target.machine not in {"x86_64", "aarch64"}:
        raise UsageError(
            "uv cannot solve for an architecture", expected="linux-64, linux-aarch64 or macOS", found=target.arch
        )
    return f"{target.machine}-manylinux_2_{nearest_glibc(target.glibc_minor)}"


def _addresses(problem: PypiProblem) -> list[str]:
    urls = [requirement.url for requirement in problem.requirements if requirement.url]
    return [*problem.indexes, *problem.flags.find_links, *urls]
