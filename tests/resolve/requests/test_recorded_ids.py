"""Ids that metaflow-netflixext 1.3.17 printed for these files (`metaflow environment --quiet resolve`, datastore local,
a host with glibc 2.36 and the default channel conda-forge)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.resolve.extend import extend
from asynccache.resolve.formats.environment_yml import read_environment_yml
from asynccache.resolve.requests.assemble import Machine, assemble, clone
from asynccache.resolve.requests.source_position import SourcePosition
from asynccache.resolve.requests.virtual_packages import VirtualPackage

FIRST = "channels:\n  - bioconda\ndependencies:\n  - numpy=1.26.4\n  - scikit-learn\n"
SECOND = "channels:\n  - mine\ndependencies:\n  - numpy>=1.20\n  - pandas=2.0\n"
FIRST_ID = "cc9b01494445c64cbf14802ee4882cf00ca82a6f"  # resolve -f FIRST --python '3.11.*'
SECOND_ID = "f0d978bf3d94c5f2472342ac7da85047fcf090d9"  # resolve --using FIRST -f SECOND
CLONED_ID = "e8908fa2fa57d77efb8e6d7b3deb45c7851bccb5"  # resolve --from FIRST --arch osx-arm64
STEMS = ("python-3.11.7-h1_0", "numpy-1.26.4-py311_0", "requests-2.31.0-py_0", "scikit-learn-1.3.0-py311_0")
COMMON: dict[str, Any] = {
    "settings": Settings(channels=["conda-forge"]),
    "machine": Machine("linux-64", "3.11.7", (VirtualPackage("__glibc", "2.36"),), ()),
}


@pytest.fixture
def first() -> ResolvedEnvironment:
    asked = read_environment_yml(FIRST, SourcePosition("environment.yml"))
    found = assemble(asked, arches=["linux-64"], datastore="local", python="3.11.*", **COMMON)["linux-64"]
    channel = "https://conda.anaconda.org/conda-forge/linux-64"
    packages = [EnvironmentPackage("conda", s, f"{channel}/{s}.conda", ".conda", {".conda": "0" * 32}) for s in STEMS]
    env_id = EnvID(found.request.req_id, "1" * 40, "linux-64")
    when = datetime(2026, 1, 1)  # noqa: DTZ001 - documents carry local time without zone
    return ResolvedEnvironment(
        env_id, found.request, tuple(packages), when, "ann", ("linux-64",), found.environment_type
    )


def test_a_file(first: ResolvedEnvironment) -> None:
    assert first.id.req_id == FIRST_ID


def test_nodefaults_is_part_of_the_request_and_switches_off_what_the_file_does_not_name() -> None:
    text = "channels:\n  - {}\n  - nodefaults\ndependencies:\n  - numpy=1.26.4\n"
    found = {
        own: assemble(
            read_environment_yml(text.format(own), SourcePosition("e.yml")), arches=["linux-64"], datastore="local",
            python="3.11.*", **COMMON,
        )["linux-64"]
        for own in ("bioconda", "conda-forge")
    }  # fmt: skip
    # what its functions parse_yml_value, channel_or_url and get_req_id give for it
    assert found["bioconda"].request.req_id == "86e871ebbfd025a3bb8d575542097827d722c087"
    assert found["bioconda"].request.sources == {"conda": ["bioconda", "nodefaults", "conda-forge"]}
    assert found["bioconda"].left_out == ("conda-forge",)
    assert found["conda-forge"].left_out == ()


def test_a_file_on_top_of_an_environment(first: ResolvedEnvironment) -> None:
    asked = read_environment_yml(SECOND, SourcePosition("environment.yml"))
    found = extend({"linux-64": first}, asked, arches=["linux-64"], datastore="local", **COMMON)["linux-64"]
    assert found.request.req_id == SECOND_ID
    assert not found.compatible


def test_the_same_file_on_top_of_its_own_environment(first: ResolvedEnvironment) -> None:
    asked = read_environment_yml(FIRST, SourcePosition("environment.yml"))
    found = extend({"linux-64": first}, asked, arches=["linux-64"], datastore="local", **COMMON)["linux-64"]
    assert found.request.req_id == FIRST_ID
    assert found.compatible


@pytest.mark.parametrize(("arches", "req_id"), [(["osx-arm64"], CLONED_ID), (["osx-arm64", "linux-64"], FIRST_ID)])
def test_an_environments_requirements_for_other_architectures(
    first: ResolvedEnvironment, arches: list[str], req_id: str
) -> None:
    found = clone(first, arches=arches, **COMMON)
    assert {assembled.request.req_id for assembled in found.values()} == {req_id}
