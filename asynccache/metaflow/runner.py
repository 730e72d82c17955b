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


class PackageInfo:
    """One package of an environment, read-only."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.filename: str = document["filename"]
        self.package_name, self.package_version, self.package_detailed_version = _name(document["_type"], self.filename)

    @property
    def pkg_hashes(self) -> list[tuple[str, str]]:
        """(format, digest) pairs."""
        return sorted(self._document["hashes"].items())

    def __repr__(self) -> str:
        return "<{} {}>".format(self._document["_type"], self.filename)


class EnvironmentInfo:
    """An environment, read-only."""

    def __init__(self, ids: Sequence[str], document: dict[str, Any]) -> None:
        self._document = document
        self.env_id = EnvironmentId(*ids)

    @property
    def deps(self) -> list[Any]:
        """What was asked for."""
        return _tagged(self._document["deps"])

    @property
    def sources(self) -> list[Any]:
        """Channels and indexes."""
        return _tagged(self._document["sources"])

    @property
    def extras(self) -> list[Any]:
        """Flags of the resolver."""
        return _tagged(self._document.get("extras", []))

    @property
    def packages(self) -> list[PackageInfo]:
        """What it consists of, in the order of installation."""
        return [PackageInfo(package) for package in self._document["packages"]]

    @property
    def resolved_on(self) -> Any:
        """Local time without zone."""
        from datetime import datetime  # noqa: PLC0415 - `import metaflow` should not pay for it

        text = self._document["resolved_on"]
        return datetime.strptime(  # noqa: DTZ007 - documents have no zone
            text, "%Y-%m-%dT%H:%M:%S.%f" if "." in text else "%Y-%m-%dT%H:%M:%S"
        )

    @property
    def resolved_by(self) -> str:
        """User name."""
        return str(self._document["resolved_by"])

    @property
    def co_resolved_archs(self) -> list[str]:
        """Architectures that were resolved together."""
        return list(self._document["resolved_archs"])

    @property
    def env_type(self) -> str:
        """`conda-only`, `pypi-only` or `mixed`."""
        return str(self._document.get("env_type", "mixed"))

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        return dict(self._document)

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
                    EnvironmentInfo((each["req_id"], each["full_id"], platform), each["env"]),
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
            env = EnvironmentInfo(each["env_id"], each["env"]) if each["env"] else None
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


def _tagged(values: Sequence[str]) -> list[Any]:
    return [Dependency(*value.split("::", 1)) for value in values]


def _name(kind: str, filename: str) -> tuple[str, str, str | None]:
    if kind == "conda":
        name, version, build = filename.rsplit("-", 2)
        return name, version, f"{version}-{build}"
    parts = filename.split("-")
    build = parts[2] if len(parts) > 5 and parts[2][:1].isdigit() else ""
    return parts[0], parts[1] if len(parts) > 1 else "", build
