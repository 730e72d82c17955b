"""Where local steps find their environments."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.metaflow.local_hydration import LocalEnvironments
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import cached, environment_with, packages_of


def test_a_local_step_uses_what_another_program_has_made_and_changes_nothing_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAMBA_ROOT_PREFIX", str(tmp_path / "root"))
    environment, said = environment_with(()), list[str]()
    local = LocalEnvironments(Settings(cache_dir=tmp_path / "cache"), LoopThread(), said.append)
    assert local.prefix(environment.id).parent == tmp_path / "cache" / "envs"
    prefix = tmp_path / "root" / "envs" / environment.id.name
    prefix.mkdir(parents=True)
    marker = prefix / ".metaflowenv"
    marker.write_text(json.dumps(environment.id.as_list()))
    before = marker.stat()

    local = LocalEnvironments(Settings(cache_dir=tmp_path / "cache"), LoopThread(), said.append)
    local.want(environment)

    assert said == [f"Using existing Conda environment {environment.id.req_id} ({environment.id.full_id})"]
    assert local.interpreter(environment.id) == [str(prefix / "bin" / "python")]
    assert marker.stat() == before
    local.close()


async def _stored(settings: Settings, channel: Path) -> list[ResolvedEnvironment]:
    """Return two environments in the store whose Python says its arguments."""
    program = Member("bin/python", b'#!/bin/sh\necho "$@"\n', executable=True)
    paths = write_package(channel, Metadata(name="python", version="3.11.0"), [program], [Format.CONDA])
    async with Engine(settings) as engine:
        return [await cached(engine, packages_of(paths), note=note) for note in ("a", "b")]


def test_a_run_makes_each_environment_once_with_one_engine_and_its_tasks_start_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAMBA_ROOT_PREFIX", str(tmp_path / "root"))
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache")
    environments = asyncio.run(_stored(settings, tmp_path))
    engines, opened = list[Engine](), Engine.__aenter__

    async def counted(engine: Engine) -> Any:
        engines.append(engine)
        return await opened(engine)

    monkeypatch.setattr(Engine, "__aenter__", counted)
    said = list[str]()

    def launched(tasks: int) -> list[list[str]]:
        """Launch as many tasks in each environment as a foreach does; return their commands."""
        local = LocalEnvironments(settings, LoopThread(), said.append)
        commands = []
        for number in range(tasks):
            for environment in environments:
                local.want(environment)
                commands.append([*local.interpreter(environment.id), f"task {number}"])
        # what a task imports is told on its standard error
        started = [
            subprocess.Popen(
                [command[0], "-X", "importtime", *command[1:]] if command[0] == sys.executable else command,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for command in commands
        ]  # fmt: skip
        for task, command in zip(started, commands, strict=True):
            out, imported = task.communicate(timeout=60)
            assert (task.returncode, out) == (0, f"{command[-1]}\n"), imported
            assert "asynccache" not in imported
        local.close()
        return commands

    launched(3)
    assert len(engines) == 1
    assert [line.split()[0] for line in said] == ["Creating", "Creating"]
    # the next run finds them: no engine at all, and each task is the environment's Python from its beginning
    commands = launched(3)
    assert len(engines) == 1
    assert [len(command) for command in commands] == [2] * 6
    assert [line.split()[0] for line in said[2:]] == ["Using", "Using"]
