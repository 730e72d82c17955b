"""`Runner(...).environment()`: a flow's environments from a program (contract, section 6.3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple, Sequence


class Dependency(NamedTuple):
    """One requirement or source."""

    category: str
    value: str

    def __str__(self) -> str:
        return f"{self.category}::{self.value}"


class EnvironmentId(NamedTuple):
    """Identity of an environment."""

    req_id: str
    full_id: str
    arch: str


class StepEnvInfo(NamedTuple):
    """What is known of a step's environment."""

    is_disabled: bool
    error: str | None
    requested_hash: str | None
    requested_packages: dict[str, dict[str, str]]
    requested_sources: dict[str, list[str]]
    from_env_name: str | None
    is_fetch_at_exec: bool
    env: EnvironmentInfo | None


class PackageInfo(NamedTuple):
    """One package of an environment; its hashes are (format, digest) pairs."""

    filename: str
    package_name: str
    package_version: str
    package_detailed_version: str | None
    pkg_hashes: list[tuple[str, str]]

    @classmethod
    def read(cls, document: dict[str, Any]) -> PackageInfo:
        """Return what a document says of a package."""
        filename = document["filename"]
        return cls(filename, *_name(document["_type"], filename), sorted(document["hashes"].items()))


class EnvironmentInfo(NamedTuple):
    """An environment, read-only.

    Attributes:
        env_id: Its identity.
        deps: What was asked for.
        sources: Channels and indexes.
        extras: Flags of the resolver.
        packages: What it consists of, in the order of installation.
        resolved_on: Local time without zone.
        resolved_by: User name.
        co_resolved_archs: Architectures that were resolved together.
        env_type: `conda-only`, `pypi-only` or `mixed`.
        document: All of it.
    """

    env_id: EnvironmentId
    deps: list[Dependency]
    sources: list[Dependency]
    extras: list[Dependency]
    packages: list[PackageInfo]
    resolved_on: Any
    resolved_by: str
    co_resolved_archs: list[str]
    env_type: str
    document: dict[str, Any]

    @classmethod
    def read(cls, ids: Sequence[str], document: dict[str, Any]) -> EnvironmentInfo:
        """Return what a document says."""
        from datetime import datetime  # noqa: PLC0415 - `import metaflow` should not pay for it

        deps, sources, extras = (_tagged(document.get(part, [])) for part in ("deps", "sources", "extras"))
        packages = [PackageInfo.read(package) for package in document["packages"]]
        form = "%Y-%m-%dT%H:%M:%S.%f" if "." in document["resolved_on"] else "%Y-%m-%dT%H:%M:%S"
        resolved_on = datetime.strptime(document["resolved_on"], form)  # noqa: DTZ007 - documents have no zone
        who, archs = str(document["resolved_by"]), list(document["resolved_archs"])
        kind = str(document.get("env_type", "mixed"))
        return cls(EnvironmentId(*ids), deps, sources, extras, packages, resolved_on, who, archs, kind, document)

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        return dict(self.document)

    def __repr__(self) -> str:
        return "<environment {}:{} for {}>".format(*self.env_id)


class RunnerCLI:
    """The environments of a flow's steps: `resolve` and `show`."""

    name = "environment"

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def resolve(
        self,
        *steps: str,
        arch: str | Sequence[str] | None = None,
        alias: str | Sequence[str] | None = None,
        force: bool = False,
        dry_run: bool = False,
        timeout: float = 1200,
    ) -> dict[str, dict[str, tuple[EnvironmentInfo, bool]]]:
        """Resolve the environments of steps; return step -> architecture -> (environment, whether it is new).

        Raises:
            RuntimeError: It failed, or took longer than `timeout` seconds.
        """
        words = ["resolve"]
        words += [word for each in _several(arch) for word in ("--arch", each)]
        words += [word for each in _several(alias) for word in ("--alias", each)]
        words += ["--force"] * force + ["--dry-run"] * dry_run
        found = self._run(words, steps, timeout)
        return {
            step: {
                platform: (
                    EnvironmentInfo.read((each["req_id"], each["full_id"], platform), each["env"]),
                    bool(each["newly_resolved"]),
                )
                for platform, each in by_arch.items()
            }
            for step, by_arch in found.items()
        }

    def show(self, *steps: str, local_only: bool = False, timeout: float = 60) -> dict[str, Any]:
        """Return what is known of the environments of steps, as step -> `StepEnvInfo`.

        Raises:
            RuntimeError: It failed, or took longer than `timeout` seconds.
        """
        found = self._run(["show"] + ["--local-only"] * local_only, steps, timeout)
        result = {}
        for step, each in found.items():
            env = EnvironmentInfo.read(each["env_id"], each["env"]) if each["env"] else None
            values = {name: each[name] for name in StepEnvInfo._fields if name != "env"}
            result[step] = StepEnvInfo(env=env, **values)
        return result

    def _run(self, words: list[str], steps: Sequence[str], timeout: float) -> dict[str, Any]:
        runner = self._runner
        with tempfile.TemporaryDirectory(prefix="asynccache-runner-") as directory:
            output = os.path.join(directory, "output.json")
            command = [sys.executable, runner.flow_file, *_options(runner.top_level_kwargs), "environment"]
            command += [*words, "--output", output, *steps]
            try:
                done = subprocess.run(  # noqa: S603 - an argument list of our own
                    command,
                    env=runner.env_vars,
                    cwd=runner.cwd,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"`environment {words[0]}` took longer than {timeout} seconds") from None
            said = done.stdout.decode("utf-8", "replace")
            if runner.show_output and said:
                sys.stderr.write(said)
            if done.returncode or not os.path.exists(output):
                raise RuntimeError(f"`environment {words[0]}` failed with status {done.returncode}:\n{said[-4000:]}")
            with open(output, encoding="utf-8") as file:
                return json.load(file)  # type: dict[str, Any]


def _options(options: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-").replace("decospecs", "with")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, (list, tuple)):
            words += [word for each in value for word in (flag, str(each))]
        elif value is not None:
            words += [flag, str(value)]
    return words


def _several(value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _tagged(values: Sequence[str]) -> list[Dependency]:
    return [Dependency(*value.split("::", 1)) for value in values]


def _name(kind: str, filename: str) -> tuple[str, str, str | None]:
    if kind == "conda":
        name, version, build = filename.rsplit("-", 2)
        return name, version, f"{version}-{build}"
    parts = filename.split("-")
    build = parts[2] if len(parts) > 5 and parts[2][:1].isdigit() else ""
    return parts[0], parts[1] if len(parts) > 1 else "", build
