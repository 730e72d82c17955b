"""conda, mamba and micromamba as resolvers: one dry run each, with the contract's arguments (section 10.2).

The program works in directories of its own, so the user's installation is not changed and its package cache does not
affect the answer; only the indexes that it reads are kept (`conda_index`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ResolutionError, ResolverFailedError
from asynccache.model.dataclass import dataclass
from asynccache.resolve.conda.find_programs import Program, require_program, require_version
from asynccache.resolve.conda.kept_index import KeptIndex
from asynccache.resolve.conda.output import failure, find_document, missing_versions, read_packages, read_tree
from asynccache.resolve.conda.problem import CondaProblem, pinned_names, read_conda_problem, with_base
from asynccache.resolve.explain import secrets_of
from asynccache.resolve.program import Finished, run_program
from asynccache.resolve.requests.sources import channel_of, channel_or_url
from asynccache.resolve.requests.virtual_packages import is_local, machine_profile
from asynccache.resolve.resolver import Problem, Solution
from asynccache.runtime.clock import Deadline
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.scratch import scratch_directory

_INFO_SECONDS: Final = 60.0
_MICROMAMBA_KEY: Final = re.compile(r"micromamba.* version")
_JSON_VARIABLES: Final = {"CONDA_JSON", "MAMBA_JSON"}
_VERSIONS_SECONDS: Final = 60.0  # to find the versions that a failure names
_PUBLIC_ALIAS: Final = "conda.anaconda.org"


@dataclass(frozen=True, slots=True)
class Installation:
    """What a program reports about itself.

    Attributes:
        kind: Which flags and answers it has: `conda` (also mamba 1), `mamba` (2 or newer) or `micromamba`.
        version: Of that kind.
        root: Root prefix.
        channels: Its configured channels, as names or addresses.
        printed: The same as it prints them: one text per directory.
    """

    kind: str
    version: str
    root: str
    channels: tuple[str, ...]
    printed: tuple[str, ...] = ()


def read_info(program: Program, document: Mapping[str, Any], alias: str | None = None) -> Installation:
    """Read what `info --json` prints.

    Args:
        program: The program.
        document: Its answer.
        alias: Text that is treated as conda.anaconda.org (setting `hack_channel_alias`).

    Raises:
        ResolverMissingError: The program is too old, or reports no version.
    """
    kind, version = "conda", document.get("conda_version")
    micromamba = next((key for key in document if _MICROMAMBA_KEY.fullmatch(key)), None)
    if micromamba is not None:
        kind, version = "micromamba", document[micromamba]
    elif "mamba version" in document:
        kind, version = "mamba", document["mamba version"]
    require_version(program, kind, version and str(version))
    root = document.get("root_prefix") or document.get("base environment") or ""
    printed = tuple(map(str, document.get("channels") or ()))
    channels = dict.fromkeys(channel_or_url(channel_of(channel), alias) for channel in printed)
    return Installation(kind, str(version), str(root), tuple(channels), printed)


class CondaExecutableResolver:
    """Solves conda requirements with a program.

    Args:
        settings: `conda_local_path`, `hack_channel_alias` and `auth` are used.
        program: `mamba`, `conda` or `micromamba`.
        environ: Environment variables; None for the process's own.

    Raises:
        ResolverMissingError: The program is not on this machine.
    """

    def __init__(self, settings: Settings, program: str, *, environ: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._environ = dict(os.environ if environ is None else environ)
        self.name = program
        self._program = require_program(program, settings, environ=self._environ)
        self._secrets = secrets_of(settings.auth)
        self._installation: Installation | None = None

    async def installation(self) -> Installation:
        """Return the program and what it reports about itself; asked once.

        Raises:
            ResolverMissingError: It is too old.
            ResolverFailedError: It does not answer.
        """
        if self._installation is None:
            finished = await run_program(
                [self._program.path, "info", "--json"],
                env=self._base_environment(),
                timeout=_INFO_SECONDS,
                name=f"`{self.name} info`",
            )
            document = find_document(finished.stdout)
            if finished.returncode or document is None or document.get("exception_name"):
                raise failure(finished, document, f"{self.name} info", self._secrets)
            self._installation = read_info(self._program, document, self._settings.hack_channel_alias)
        return self._installation

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda packages; see `Resolver.resolve` for the errors."""
        hint = "set conda_dependency_resolver to `rattler`, or take exclude_newer away"
        problem.refuse_limits(self.name, hint, offline=True)
        conda = await in_thread(read_conda_problem, problem, self._settings)
        if not conda.values and not conda.base:
            return Solution((), resolver=self.name)
        installation = await self.installation()
        kept = await in_thread(KeptIndex, self._settings.cache_dir, installation.kind)
        channels = tuple(dict.fromkeys((*conda.channels, *installation.printed)))
        if problem.offline:
            await in_thread(kept.require, channels, problem.arch)
        ends = Deadline(problem.timeout)
        async with scratch_directory("asynccache-conda-") as temp:
            arguments = self._arguments(installation, conda, temp)
            env = self._environment(installation, conda, temp, problem) | {"CONDA_PKGS_DIRS": str(kept.directory)}

            async def run(arguments: Sequence[str | Path], env: Mapping[str, str], seconds: float) -> Finished:
                name = f"solving with {self.name} for {problem.arch}"
                return await run_program(arguments, env=env, timeout=seconds, name=name, cwd=temp)

            finished = await run(arguments, env, problem.timeout)
            document = find_document(finished.stdout)
            refused = document is None or document.get("success") is not True or bool(document.get("exception_name"))
            if finished.returncode or refused or document is None:
                tree, left = "", ends.left
                if document and document.get("solver_problems") and installation.kind != "conda":
                    # in JSON they name one problem, or none; their reasons are in the text for people only
                    for_people = {key: value for key, value in env.items() if key not in _JSON_VARIABLES}
                    with suppress(ResolutionError):
                        tree = read_tree(await run([word for word in arguments if word != "--json"], for_people, left))
                published = await self._published(replace(problem, timeout=left), document, tree)
                raise failure(finished, document, self.name, self._secrets, tree=tree, published=published)
        await in_thread(kept.was_read, channels, problem.arch)
        return self._solution(document, conda)

    async def _published(
        self, problem: Problem, document: dict[str, Any] | None, tree: str
    ) -> Mapping[str, Sequence[str]]:
        """Return the available versions of packages that the program lacks; empty if unknown."""
        problems = (document or {}).get("solver_problems")
        text = tree or "\n".join(map(str, problems if isinstance(problems, list) else ()))
        if not (names := missing_versions(document, text)):
            return {}
        from asynccache.resolve.conda.rattler_solver import RattlerResolver  # noqa: PLC0415 - for failures only

        with suppress(AsyncCacheError):
            limit = min(_VERSIONS_SECONDS, problem.timeout)
            return await RattlerResolver(self._settings).versions(replace(problem, timeout=limit), names)
        return {}

    def _solution(self, document: dict[str, Any], conda: CondaProblem) -> Solution:
        found = read_packages(document, self.name)
        if not found:
            raise ResolverFailedError(f"{self.name} succeeded without naming a package to link")
        if alias := self._settings.hack_channel_alias:
            # addresses of a mirror are replaced by those of the mirrored channels
            found = [(replace(p, url=p.url.replace(alias, _PUBLIC_ALIAS)), size) for p, size in found]
        packages = with_base((package for package, _ in found), conda.base)
        sizes = {package.url: size for package, size in found if size}
        return Solution(tuple(packages), resolver=self.name, sizes=sizes)

    def _arguments(self, installation: Installation, conda: CondaProblem, temp: Path) -> list[str | Path]:
        root, program = self._program.root, self._program.path
        configured = root is not None and (installation.kind != "conda" or self.name == "micromamba")
        before: list[str | Path] = ["--rc-file", f"{root}/.mambarc", "-r", f"{root}"] if configured else []
        after = ["--json"] if configured else []
        if not configured and installation.kind == "micromamba":
            after = ["-r", installation.root, "--json"]
        channels = [part for channel in self._added(installation, conda) for part in ("-c", channel)]
        if conda.alone:
            channels.insert(0, "--override-channels")
        exact = [f"{name.name}=={name.version}={name.build}" for _, name in pinned_names(conda.base)]
        return [
            program,
            *before,
            "create",
            "--yes",
            "--prefix",
            temp / "prefix",
            "--dry-run",
            *channels,
            *dict.fromkeys([*conda.values, *exact]),
            *after,
        ]

    def _added(self, installation: Installation, conda: CondaProblem) -> list[str]:
        alias = self._settings.hack_channel_alias
        return [c for c in conda.own_channels if conda.alone or channel_or_url(c, alias) not in installation.channels]

    def _environment(
        self, installation: Installation, conda: CondaProblem, temp: Path, problem: Problem
    ) -> dict[str, str]:
        env = (
            machine_overrides(conda, self._settings)
            | self._base_environment()
            | {
                "CONDA_SUBDIR": conda.arch,
                "CONDA_ENVS_DIRS": str(temp / "envs"),
                "CONDA_ROOT": installation.root,
                "CONDA_UNSATISFIABLE_HINTS_CHECK_DEPTH": "0",
            }
        )
        env |= {_override(name): version for name, version in conda.sys.items()}
        if self._added(installation, conda) or conda.names_channels:
            env["CONDA_CHANNEL_PRIORITY"] = "flexible"
        if installation.kind != "conda" and "CONDA_CHANNEL_PRIORITY" in env:
            env["MAMBA_CHANNEL_PRIORITY"] = env["CONDA_CHANNEL_PRIORITY"]
        if problem.offline:
            env |= {"CONDA_OFFLINE": "True", "MAMBA_OFFLINE": "True"}
        if problem.fresh:
            env |= {"CONDA_LOCAL_REPODATA_TTL": "0", "MAMBA_LOCAL_REPODATA_TTL": "0"}
        return env

    def _base_environment(self) -> dict[str, str]:
        env = self._environ | {"CONDA_JSON": "True", "MAMBA_JSON": "True", "MAMBA_NO_BANNER": "1"}
        if self._program.root is not None:
            env["MAMBA_ROOT_PREFIX"] = str(self._program.root)
        return env


def machine_overrides(conda: CondaProblem, settings: Settings) -> dict[str, str]:
    """Return the variables that describe a machine of another architecture to conda's programs.

    For this machine's own architecture they find this out themselves, unless `pin_virtual_packages` is set. A GPU
    exists only if the request names it, which overrides these.
    """
    if is_local(conda.arch, settings):
        return {}
    profile = machine_profile(conda.arch, (), settings)
    found = {package.name: package.build if package.name == "__archspec" else package.version for package in profile}
    return {_override(name): version for name, version in {**found, "__cuda": ""}.items() if name != "__unix"}


def _override(name: str) -> str:
    return f"CONDA_OVERRIDE_{name.lstrip('_').upper()}"
