"""`Runner(...).environment()`: a flow's environments from a program (contract, section 6.3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

if TYPE_CHECKING:
    from asynccache.metaflow.environment_values import ResolvedEnvironment


class StepEnvInfo(NamedTuple):
    """What is known of a step's environment."""

    is_disabled: bool
    error: str | None = None
    requested_hash: str | None = None
    requested_packages: dict[str, dict[str, str]] | None = None
    requested_sources: dict[str, list[str]] | None = None
    from_env_name: str | None = None
    is_fetch_at_exec: bool = False
    env: ResolvedEnvironment | None = None


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
    ) -> dict[str, dict[str, tuple[ResolvedEnvironment, bool]]]:
        """Resolve the environments of steps; return step -> architecture -> (environment, whether it is new).

        Raises:
            RuntimeError: It failed, or took longer than `timeout` seconds.
        """
        from asynccache.metaflow.environment_values import ResolvedEnvironment  # noqa: PLC0415 - not at start-up

        words = ["resolve"]
        words += [word for each in _several(arch) for word in ("--arch", each)]
        words += [word for each in _several(alias) for word in ("--alias", each)]
        words += ["--force"] * force + ["--dry-run"] * dry_run
        found = self._run(words, steps, timeout)
        return {
            step: {
                platform: (
                    ResolvedEnvironment.from_dict((each["req_id"], each["full_id"], platform), each["env"]),
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
        from asynccache.metaflow.environment_values import ResolvedEnvironment  # noqa: PLC0415 - not at start-up

        found = self._run(["show"] + ["--local-only"] * local_only, steps, timeout)
        result = {}
        for step, each in found.items():
            env = ResolvedEnvironment.from_dict(each["env_id"], each["env"]) if each["env"] else None
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
                return json.load(file)


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
