"""Environments of PyPI packages, solved by pip of the target's Python (contract, section 10.3).

pip runs in a helper environment of conda packages; the result has the same format as uv's. For another architecture pip
is given the target's tags and the values of its environment markers, and uses wheels only.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from asynccache.errors import (
    AsyncCacheError,
    BuildError,
    IndexUnreachableError,
    ResolverFailedError,
    ResolverMissingError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.digest import Digests
from asynccache.model.package import Format, Package
from asynccache.model.url import redacted
from asynccache.node.json_text import read_json
from asynccache.resolve.explain import last_lines, scrubbed
from asynccache.resolve.program import Finished, run_program
from asynccache.resolve.pypi.found import sorted_out
from asynccache.resolve.pypi.index_refusal import refused, refusing, unknown
from asynccache.resolve.pypi.problem import PypiProblem
from asynccache.resolve.pypi.resolver import PypiResolver, PypiTask, yanked
from asynccache.resolve.pypi.uv_program import build_constraints, own_environment
from asynccache.resolve.requests.markers import marker_environment
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.resolver import Problem, Solution, SourceBuild
from asynccache.runtime.clock import Deadline
from asynccache.runtime.files import read_text

# Runs pip with the target's environment markers, which pip has no option for.
_RUNNER: Final = """\
import json, runpy, sys
import pip._vendor.packaging.markers as markers
values = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(values)
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_NO_VERSION: Final = re.compile(
    r"Could not find a version that satisfies the requirement (?P<spec>.+?)(?: \(from versions: (?P<versions>.*?)\))?$",
    re.MULTILINE,
)
_CONNECTION: Final = re.compile(
    r"connection broken by|Max retries exceeded|Could not fetch URL|HTTP error"
    r"|\b(?P<code>40[13]|5\d\d) (?:Client|Server) Error|(?P<refused>40[13]) Error, Credentials"
)
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_ERROR: Final = re.compile(r"^ERROR: (.*)$", re.MULTILINE)


class PipResolver(PypiResolver):
    """Solves PyPI requirements with pip of the target's Python."""

    name = "pip"

    async def resolve(self, problem: Problem) -> Solution:
        """Find PyPI packages and the conda packages below them; see `Resolver.resolve` for the errors."""
        problem.refuse_limits(self.name, "set pypi_dependency_resolver to `uv`")
        return await super().resolve(problem)

    async def _find(self, task: PypiTask, kept: Sequence[str], directory: Path, ends: Deadline) -> Solution:
        python = await self._make_python(task) or await _running_python(task.target)
        env = own_environment(os.environ) | {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PIP_CONSTRAINT": str(build_constraints(directory)),
            "PIP_NO_INPUT": "1",
        }
        arguments = partial(self._arguments, task, kept, directory)
        finished = await self._run(lambda: ([python, *arguments()], env), task, directory, ends)
        report = await read_text(directory / "report.json")
        return replace(read_report(read_json(report), task.pypi.indexes), notes=yanked(finished))

    def _arguments(self, task: PypiTask, kept: Sequence[str], directory: Path) -> list[str | Path]:
        pypi, target, address = task.pypi, task.target, self._logins.address
        # addresses can hold credentials: they are in a file that only this user can read
        lines = []
        if not pypi.flags.no_index:
            first, *others = map(address, pypi.indexes)
            lines += [f"--index-url {first}", *(f"--extra-index-url {other}" for other in others)]
        lines += [f"--find-links {address(link)}" for link in pypi.flags.find_links]
        lines += [*pypi.lines(self._logins), *kept]
        (directory / "requirements.txt").write_text("\n".join(lines) + "\n", "utf-8")
        bounds = directory / "constraints.txt"
        bounds.write_text("\n".join(pypi.flags.constraints) + "\n", "utf-8")
        settings = self._settings
        arguments: list[str | Path] = ["-m", "pip"]
        across: list[str | Path] = []
        if pypi.across:
            (directory / "run_pip.py").write_text(_RUNNER, "utf-8")
            values = marker_environment(pypi.arch, target.full_version, settings)
            arguments = [directory / "run_pip.py", json.dumps(values)]
            across = ["--only-binary=:all:", "--python-version", target.full_version, "--implementation", "cp"]
            across += [word for tag in _of_tags(target, "abi") for word in ("--abi", tag)]
            across += [word for tag in _of_tags(target, "platform") if tag != "any" for word in ("--platform", tag)]
        return [
            *arguments,
            "-v",
            "--isolated",
            "--no-input",
            "--disable-pip-version-check",
            "--retries",
            # pip reports a failed connection only if it retries
            str(max(1, settings.attempts - 1)),
            "--timeout",
            str(max(1, round(settings.read_timeout))),
            "install",
            "--ignore-installed",
            "--dry-run",
            "--target",
            directory / "target",
            "--report",
            directory / "report.json",
            *(["--pre"] if pypi.flags.prereleases else []),
            *(["--no-index"] if pypi.flags.no_index else []),
            *(word for host in pypi.flags.trusted_hosts for word in ("--trusted-host", host)),
            *across,
            "--constraint",
            build_constraints(directory),
            "--constraint",
            bounds,
            "-r",
            directory / "requirements.txt",
        ]

    def _failure(self, finished: Finished, task: PypiTask) -> AsyncCacheError:
        pypi = task.pypi
        secrets = self._logins.secrets(pypi.addresses)
        text = scrubbed(f"{finished.stdout}\n{finished.stderr}", secrets)
        if finished.returncode < 0:
            return finished.crashed("pip", secrets)
        missing = _NO_VERSION.search(text)
        nowhere = missing is not None and missing["versions"] in {None, "none", ""}
        name = canonicalize_name(_NAME.split(missing["spec"], 1)[0]) if missing else ""
        if missing and not nowhere and (refusal := refusing([name], pypi, self._logins, reasons=missing.group())):
            return refusal
        if (missing is not None and not nowhere) or "ResolutionImpossible" in text:
            conflict = re.search(r"The conflict is caused by:\n(?P<lines>(?:    .*\n?)+)", text)
            explanation = conflict["lines"].rstrip() if conflict else "\n".join(dict.fromkeys(_ERROR.findall(text)))
            return UnsatisfiableError(
                f"the requirements cannot be met for {pypi.arch} with Python {task.target.version}:\n{explanation}"
            )
        if connection := _CONNECTION.search(text):
            return _unreachable(text, connection, pypi)
        if missing is not None:
            return unknown(name, pypi, self._logins, asked=missing["spec"])
        if "metadata-generation-failed" in text or "subprocess-exited-with-error" in text:
            return BuildError(f"a source package cannot be asked what it needs:\n{last_lines(text)}")
        return finished.crashed("pip", secrets)


def read_report(document: Any, indexes: Sequence[str] = ()) -> Solution:
    """Read the output of `pip install --report`.

    Args:
        document: The report.
        indexes: Indexes of the request: wheels below a local index count as published.

    Raises:
        UsageError: A package is editable.
        ResolverFailedError: An entry has no address or digest.
    """
    archives, builds = [], []
    for entry in document.get("install", ()):
        information, metadata = entry["download_info"], entry["metadata"]
        name, version = canonicalize_name(metadata["name"]), str(metadata["version"])
        url = redacted(str(information["url"]))
        subdirectory = str(information.get("subdirectory") or "")
        if "vcs_info" in information:
            vcs = information["vcs_info"]
            builds.append(SourceBuild(name, version, f"{vcs['vcs']}+{url}@{vcs['commit_id']}", subdirectory))
        elif "dir_info" in information:
            if information["dir_info"].get("editable"):
                raise UsageError("Cannot include an editable PYPI package", found=name)
            builds.append(SourceBuild(name, version, url, subdirectory))
        else:
            archive = information.get("archive_info") or {}
            hashes = archive.get("hashes") or {}
            sha256, md5 = hashes.get("sha256"), hashes.get("md5")
            if sha256 is None and md5 is None:
                raise ResolverFailedError(f"Cannot find hash 'sha256' for {url}")
            md5 = None if sha256 else md5
            if subdirectory or not unquote(urlsplit(url).path).endswith(Format.WHEEL):
                builds.append(SourceBuild(name, version, url, subdirectory, sha256, md5=md5))
            else:
                archives.append(Package.from_url(url, Digests(md5=md5, sha256=sha256)))
    return sorted_out(archives, builds, published_below=indexes)


def _of_tags(target: PythonTarget, part: str) -> list[str]:
    return list(dict.fromkeys(getattr(tag, part) for tag in target.ranks))


async def _running_python(target: PythonTarget) -> Path:
    """Return the running Python, if it has the target's minor version and pip."""
    if sys.version_info[:2] == target.release:
        finished = await run_program(
            [sys.executable, "-m", "pip", "--version"], env=own_environment(os.environ), timeout=30, name="pip"
        )
        if finished.returncode == 0:
            return Path(sys.executable)
    raise ResolverMissingError(
        f"pip of Python {target.version} is not on this machine",
        hint="set pypi_dependency_resolver to `uv`, which needs no Python of the target",
    )


def _unreachable(text: str, connection: re.Match[str], pypi: PypiProblem) -> IndexUnreachableError:
    code = connection["code"] or connection["refused"]
    line = text[text.rfind("\n", 0, connection.start()) + 1 :].partition("\n")[0]
    named = [index for index in pypi.indexes if index in line or urlsplit(index).netloc in line]
    where = redacted(named[0]) if named else ", ".join(map(redacted, pypi.indexes))
    if code in {"401", "403"}:
        return refused(where, code)
    return IndexUnreachableError(f"the index {where} cannot be read: {line.strip()[:300]}", hint="try again")
