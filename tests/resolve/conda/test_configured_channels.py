"""Channels of a machine's conda program enter requests; the program is asked once for each state."""

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.model.identity import Request
from asynccache.resolve.conda.configured_channels import ConfiguredChannels, configured_channels
from asynccache.resolve.conda.problem import read_conda_problem
from asynccache.resolve.requests.assemble import Machine, assemble
from asynccache.resolve.requests.older_ids import older_ids
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.resolver import Problem
from tests.support.conda_stub import read_calls, write_stub

ACME = ["https://conda.anaconda.org/acme/linux-64", "https://conda.anaconda.org/acme/noarch"]
OTHER = ["https://h.test/t/<TOKEN>/team/linux-64", "https://h.test/t/<TOKEN>/team/noarch"]
MASKED = ["https://conda.anaconda.org/t/<TOKEN>/own/linux-64", "https://conda.anaconda.org/t/<TOKEN>/own/noarch"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", conda_dependency_resolver="micromamba")


def variables(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "CONDA_SUBDIR": "linux-64", **more}


@pytest.mark.parametrize("program", ["micromamba", "conda", "mamba"])
async def test_the_program_is_asked_again_only_when_something_has_changed(
    settings: Settings, tmp_path: Path, program: str
) -> None:
    settings = replace(settings, conda_dependency_resolver=program)
    write_stub(tmp_path / "bin", program, channels=[*ACME, *OTHER])
    env = variables(tmp_path)
    for _ in range(2):
        assert (await configured_channels(settings, env)).texts == ("acme", *OTHER)
        assert len(read_calls(tmp_path / "bin", program)) == 1
    (tmp_path / ".condarc").write_text("channels: [acme]\n")
    await configured_channels(settings, env)
    await configured_channels(settings, env | {"CONDA_CHANNELS": "acme"})
    await configured_channels(settings, env)
    assert len(read_calls(tmp_path / "bin", program)) == 3
    write_stub(tmp_path / "bin", program, channels=ACME)
    (tmp_path / "bin" / program).write_text((tmp_path / "bin" / program).read_text() + "# another\n")
    assert (await configured_channels(settings, env)).texts == ("acme",)


async def test_an_answer_with_a_password_is_not_kept(settings: Settings, tmp_path: Path) -> None:
    write_stub(tmp_path / "bin", "micromamba", channels=["https://u:s3cret-word@h.test/ch/noarch"])
    for _ in range(2):
        found = await configured_channels(settings, variables(tmp_path))
        assert found.texts == ("https://u:s3cret-word@h.test/ch/noarch",)
    assert not any(b"s3cret-word" in p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file())


async def test_the_setting_makes_all_configuration_void(settings: Settings, tmp_path: Path) -> None:
    write_stub(tmp_path / "bin", "micromamba", channels=ACME)
    found = await configured_channels(replace(settings, channels=["mine"]), variables(tmp_path))
    assert found == ConfiguredChannels()
    assert read_calls(tmp_path / "bin", "micromamba") == []


@pytest.mark.parametrize("answer", [None, "conda", "fallback"])
async def test_without_an_answer_the_files_are_read_and_without_files_nobody_has_chosen(
    settings: Settings, tmp_path: Path, answer: str | None
) -> None:
    if answer is not None:
        defaults = [f"https://repo.anaconda.com/pkgs/main/{subdir}" for subdir in ("linux-64", "noarch")]
        write_stub(tmp_path / "bin", "micromamba", channels=[] if answer == "conda" else defaults)
    assert (await configured_channels(settings, variables(tmp_path))).texts is None
    (tmp_path / ".condarc").write_text("channels: ['https://h.test/t/tk/team', acme]\n")
    found = await configured_channels(settings, variables(tmp_path))
    assert found.texts == (tuple(defaults) if answer == "fallback" else (*OTHER, "acme"))
    assert found.auth == {"https://h.test/team": ["https://h.test/t/tk/team"]}


async def test_a_request_holds_what_is_printed_and_solvers_get_the_channels(settings: Settings, tmp_path: Path) -> None:
    write_stub(tmp_path / "bin", "micromamba", channels=[*OTHER, *MASKED, *ACME])
    (tmp_path / ".condarc").write_text("channels: ['https://h.test/t/tk/team']\n")
    found = await configured_channels(settings, variables(tmp_path))
    machine = Machine("linux-64", "3.11.7", (), (), found.texts, found.auth, found.written)
    asked = Requirements.of({"conda": {"a": "1"}}, sources={"conda": ["first"]})
    (each,) = assemble(asked, arches=["osx-arm64"], settings=settings, datastore=None, machine=machine).values()
    assert list(each.request.sources["conda"]) == ["first", *OTHER, "own", "acme"]
    assert each.auth["https://h.test/team"] == ["https://h.test/t/tk/team"]
    # other writers take the directory `t` for the name of a channel with a token
    there = Request(each.request.deps, {**each.request.sources, "conda": ["first", *OTHER, "t", "acme"]})
    assert there.req_id in older_ids(each.request, settings, each.written)
    problem = read_conda_problem(Problem(each.request, "osx-arm64", "conda-only"), settings)
    assert problem.channels == ("first", "https://h.test/team", "own", "acme")
