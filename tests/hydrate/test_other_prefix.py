"""Environments that metaflow-netflixext has made among those of the conda program: found, used, never changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import HydrateOptions, Session
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.hydrate.other_prefix import other_prefix
from asynccache.model.environment import ResolvedEnvironment
from asynccache.resolve.conda.places import conda_environments

PLACES = {
    "variable": ("envs", {"CONDA_ENVS_DIRS": "{home}/nowhere:{home}/envs"}, ""),
    "micromamba's root": ("root/envs", {"MAMBA_ROOT_PREFIX": "{home}/root"}, ""),
    "conda's own": (".conda/envs", {}, ""),
    "configuration": ("else/where", {}, "envs_dirs: [{home}/else/where]"),
}


def made_by_others(directory: Path, environment: ResolvedEnvironment, kind: str = "metaflow_") -> Path:
    """Write what their environment looks like to somebody else."""
    env_id = environment.id
    prefix = directory / f"{kind}{env_id.req_id}_{env_id.full_id}"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").write_text("#!/bin/sh\necho theirs\n")
    (prefix / "bin" / "python").chmod(0o755)
    (prefix / ".metaflowenv").write_text(json.dumps(env_id.as_list()))
    return prefix


def state(prefix: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_ino) for p in [prefix, *prefix.rglob("*")])


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found_where_conda_programs_keep_environments(
    settings: Settings, tiny: ResolvedEnvironment, tmp_path: Path, place: str
) -> None:
    below, variables, configuration = PLACES[place]
    prefix = made_by_others(tmp_path / below, tiny)
    (tmp_path / ".condarc").write_text(configuration.format(home=tmp_path))
    environ = {"HOME": str(tmp_path), "PATH": "", **{k: v.format(home=tmp_path) for k, v in variables.items()}}
    assert other_prefix(settings, tiny.id, environ) == prefix
    assert other_prefix(replace(settings, trust="require"), tiny.id, environ) is None
    (prefix / ".metaflowenv").chmod(0o666)
    assert other_prefix(settings, tiny.id, environ) is None, "anybody could have written it"


def test_an_installation_of_the_team_is_the_only_place(settings: Settings, tmp_path: Path) -> None:
    there = replace(settings, conda_local_path=tmp_path / "conda")
    assert conda_environments(there, {"MAMBA_ROOT_PREFIX": "/elsewhere"}) == [tmp_path / "conda" / "envs"]


async def test_create_and_run_use_it_and_change_nothing_in_it(
    settings: Settings, engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAMBA_ROOT_PREFIX", str(tmp_path / "root"))
    prefix = made_by_others(tmp_path / "root" / "envs", tiny, "metaflowtmp_")
    half = replace(tiny, id=replace(tiny.id, full_id="f" * 40))
    (made_by_others(tmp_path / "root" / "envs", half) / ".metaflowenv").unlink()
    before = state(tmp_path / "root")
    async with Session(settings) as session:
        done = await session.create(tiny)
        activation = await session.run(tiny, ["python"])
        assert (done.prefix, done.created) == (prefix, False)
        assert any("made by another program" in note for note in done.notes)
        assert activation.variables["CONDA_PREFIX"] == str(prefix)
        assert [p.prefixes for p in await session.presence(tiny)] == [(prefix,)]
        again = await session.create(tiny, options=HydrateOptions(force=True))
        assert (again.created, again.prefix.parent) == (True, tmp_path / "cache" / "envs")
        assert (await session.create(half)).prefix.parent == tmp_path / "cache" / "envs", "theirs is not complete"
        (await session.remove(str(tiny.id))).raise_for_failures()
        await session.clean(older_than=0)
    assert state(tmp_path / "root") == before
