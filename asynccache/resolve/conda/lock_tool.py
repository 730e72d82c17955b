"""conda-lock as the resolver of mixed environments (contract, section 10.4).

conda-lock has no solver for conda packages: it runs a conda program, and tries to download one if it is not given a
path. So the program is looked up first and always passed. PyPI packages that are not published as wheels are returned
as builds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from asynccache.config import Settings
from asynccache.errors import ResolverFailedError, ResolverMissingError, UsageError
from asynccache.model.digest import Digests
from asynccache.model.package import Package, parse_stem
from asynccache.model.url import redacted
from asynccache.resolve.conda.find_programs import (
    CONDA_PROGRAMS,
    Program,
    find_program,
    require_program,
    require_version,
)
from asynccache.resolve.conda.output import failure, find_document
from asynccache.resolve.conda.problem import CondaProblem, conda_package, pinned_names, read_conda_problem, with_base
from asynccache.resolve.explain import scrubbed, secrets_of
from asynccache.resolve.program import run_program
from asynccache.resolve.pypi.found import sorted_out
from asynccache.resolve.pypi.problem import PypiProblem, normal_name, read_mixed_problem
from asynccache.resolve.requests.requirement_text import ReadRequirement
from asynccache.resolve.requests.sources import PYPI, default_channels
from asynccache.resolve.resolver import Problem, Solution, SourceBuild
from asynccache.runtime.files import read_text, write_text
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.scratch import scratch_directory

_VERSION_SECONDS: Final = 60.0
_EXPLICIT: Final = "@EXPLICIT"


def project_file(conda: CondaProblem, pypi: Iterable[ReadRequirement], indexes: Iterable[str]) -> str:
    """Return the `pyproject.toml` that conda-lock reads.

    Args:
        conda: The conda part.
        pypi: The PyPI part.
        indexes: Indexes of the request, the default one first.

    Raises:
        UsageError: A conda package is required twice, or a PyPI package from an address that conda-lock cannot use.
    """
    asked = list(indexes)
    # without a build system that it knows, conda-lock ignores Poetry's table
    lines = ["[build-system]", 'requires = ["poetry-core"]', 'build-backend = "poetry.core.masonry.api"', ""]
    lines += ["[tool.conda-lock]", f"channels = {_list(conda.channels)}"]
    if others := [index for index in asked if index not in {PYPI, ""}]:
        lines.append(f"pip-repositories = {_list(others)}")
        if asked[0] != PYPI:
            lines.append("allow-pypi-requests = false")
    needed: dict[str, str] = {}
    for requirement in conda.requirements:
        if requirement.name in needed:
            raise UsageError("Duplicate conda dependency", found=requirement.name)
        version = requirement.conda_spec.partition(" ")[2] or "*"
        key = f"{requirement.channel}::{requirement.name}" if requirement.channel else requirement.name
        needed[requirement.name] = f"{_text(key)} = {_text(version)}"
    for tool in ("pip", "uv"):
        needed.setdefault(tool, f'{tool} = "*"')
    for _, name in pinned_names(conda.base):
        needed[name.name] = f"{_text(name.name)} = {_text(f'=={name.version} {name.build}')}"
    lines += ["", "[tool.conda-lock.dependencies]", *needed.values(), "", "[tool.poetry.dependencies]"]
    lines += [f"{_text(requirement.name)} = {_pypi(requirement)}" for requirement in pypi]
    return "\n".join(lines) + "\n"


def virtual_packages_file(arch: str, packages: Mapping[str, str]) -> str:
    """Return the YAML that describes the machine to conda-lock; versions without build."""
    rows = [f"      {name}: {_text(version)}" for name, version in sorted(packages.items())]
    return "\n".join(["subdirs:", f"  {arch}:", "    packages:", *rows]) + "\n"


def read_explicit(text: str) -> Solution:
    """Read conda-lock's explicit file: what to install, and what has to be built first.

    Raises:
        ResolverFailedError: There is no such list in it, or a line that cannot be read.
    """
    _, found, rows = text.partition(_EXPLICIT)
    if not found:
        raise ResolverFailedError("conda-lock wrote a file that is no list of packages", expected=_EXPLICIT)
    conda, archives, repositories = [], [], []
    for row in map(str.strip, rows.splitlines()):
        if row.startswith("# pip "):
            words = row.split()
            if len(words) != 5:
                raise ResolverFailedError("conda-lock wrote a line that cannot be read", found=scrubbed(row))
            location, _, digest = words[4].partition("#")
            address = redacted(location)
            if address.startswith("git+"):
                repositories.append(SourceBuild(canonicalize_name(words[2]), None, address))
            else:
                sha256 = digest.removeprefix("sha256=") if digest.startswith("sha256=") else None
                archives.append(_archive(address, sha256))
        elif row and not row.startswith("#"):
            url, _, digest = row.partition("#")
            conda.append(conda_package(url, md5=digest.removeprefix("md5=") or None, sha256=None))
    return Solution(tuple(conda), resolver="conda-lock") + sorted_out(archives, repositories)


class CondaLockResolver:
    """Solves mixed environments with conda-lock and a conda program.

    Args:
        settings: `conda_dependency_resolver` names the program; unset: mamba, micromamba or conda, the first found.
        environ: Environment variables; the process's own when None.

    Raises:
        ResolverMissingError: conda-lock or a program for it is not on this machine.
    """

    name = "conda-lock"

    def __init__(self, settings: Settings, *, environ: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._environ = dict(os.environ if environ is None else environ)
        self._tool = require_program("conda-lock", settings, environ=self._environ)
        self._kind, self._program = conda_for_lock(settings, self._environ)
        self._secrets = secrets_of(settings.auth)
        self._checked = False

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda and PyPI packages; see `Resolver.resolve` for the errors."""
        problem.refuse_limits(self.name, "set mixed_dependency_resolver to `builtin`")
        conda = await in_thread(read_conda_problem, problem, self._settings)
        pypi = await in_thread(read_mixed_problem, problem, self._settings)
        if pypi.flags.constraints or pypi.flags.hashes:
            raise UsageError(
                "conda-lock cannot keep constraints and digests of a requirements.txt",
                hint="set mixed_dependency_resolver to `builtin`",
            )
        async with scratch_directory("asynccache-conda-lock-") as temp:
            project = project_file(conda, _with_kept(pypi), pypi.indexes)
            await write_text(temp / "pyproject.toml", project)
            if conda.sys:
                spec = virtual_packages_file(problem.arch, conda.sys)
                await write_text(temp / "virtual_yml.spec", spec)
            await self._check()
            finished = await run_program(
                self._arguments(problem.arch, temp, virtual=bool(conda.sys)),
                env=self._environment(conda),
                timeout=problem.timeout,
                name=f"solving with conda-lock for {problem.arch}",
                cwd=temp,
            )
            output = temp / "conda-lock-gen"
            if finished.returncode or not output.is_file():
                # the conda program's answer is part of its output
                raise failure(finished, find_document(finished.stdout), self.name, self._secrets)
            text = await read_text(output)
        found = read_explicit(text)
        there = {normal_name(p) for p in found.packages if p.kind == "pypi"}
        # conda-lock leaves out what conda provides in the wanted version
        left_out = [p for p in pypi.base if normal_name(p) not in there]
        return replace(found, packages=tuple(with_base([*found.packages, *left_out], (*conda.base, *pypi.base))))

    async def _check(self) -> None:
        if self._checked:
            return
        finished = await run_program(
            [self._tool.path, "--version"], env=self._environ, timeout=_VERSION_SECONDS, name="`conda-lock --version`"
        )
        match = re.search(r"\d+(\.\d+)+", finished.stdout)
        require_version(self._tool, self.name, match and match.group())
        self._checked = True

    def _arguments(self, arch: str, temp: Path, *, virtual: bool) -> list[str | Path]:
        flags = [f"--{self._kind}"] if self._kind != "conda" else []
        machine = ["--virtual-package-spec", "virtual_yml.spec"] if virtual else []
        return [
            self._tool.path,
            "lock",
            "-f",
            "pyproject.toml",
            "-p",
            arch,
            "--filename-template",
            temp / "conda-lock-gen",
            "-k",
            "explicit",
            "--strip-auth",
            "--conda",
            self._program.path,
            *flags,
            *machine,
        ]

    def _environment(self, conda: CondaProblem) -> dict[str, str]:
        others = set(conda.channels) - set(default_channels(self._settings))
        flexible = {"CONDA_CHANNEL_PRIORITY": "flexible", "MAMBA_CHANNEL_PRIORITY": "flexible"}
        return self._environ | {"MAMBA_NO_BANNER": "1"} | (flexible if others or conda.names_channels else {})


def conda_for_lock(settings: Settings, environ: Mapping[str, str]) -> tuple[str, Program]:
    """Return the conda program for conda-lock to run.

    Raises:
        ResolverMissingError: There is none, or not the requested one.
    """
    asked = settings.conda_dependency_resolver
    names = (asked,) if asked in CONDA_PROGRAMS else ("mamba", "micromamba", "conda")
    for name in names:
        if program := find_program(name, settings, environ=environ):
            return name, program
    raise ResolverMissingError(
        f"Could not find conda binary for {names[0]}, without which conda-lock cannot solve",
        hint="install one of mamba, micromamba and conda, or set mixed_dependency_resolver to `builtin`",
    )


def _with_kept(pypi: PypiProblem) -> list[ReadRequirement]:
    names = [parse_stem("pypi", package.filename) for package in pypi.base]
    pinned = {name.name: ReadRequirement(name.name, constraint=f"=={name.version}") for name in names}
    others = [r for r in pypi.requirements if canonicalize_name(r.name) not in pinned]
    return [*others, *pinned.values()]


def _pypi(requirement: ReadRequirement) -> str:
    fields = {}
    if requirement.url:
        fields["url"] = _text(requirement.url)
    else:
        fields["version"] = _text(requirement.constraint or "*")
        fields["source"] = _text("pypi")
    if requirement.extras:
        fields["extras"] = _list(requirement.extras)
    return "{ " + ", ".join(f"{key} = {value}" for key, value in fields.items()) + " }"


def _archive(address: str, sha256: str | None) -> Package:
    try:
        return Package.from_url(address, Digests(sha256=sha256))
    except UsageError as exc:
        raise ResolverFailedError("conda-lock names a PyPI package that is no archive", found=address) from exc


def _text(value: str) -> str:
    # a JSON string of ASCII is a TOML and a YAML string
    return json.dumps(value)


def _list(values: Iterable[str]) -> str:
    return json.dumps(list(values))
