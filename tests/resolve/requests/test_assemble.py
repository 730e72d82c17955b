from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.identity import Request
from asynccache.resolve.formats.environment_yml import read_environment_yml
from asynccache.resolve.formats.requirements_txt import read_requirements_txt
from asynccache.resolve.pypi.problem import Flags
from asynccache.resolve.requests.assemble import Assembled, Machine, assemble, clone, step_type
from asynccache.resolve.requests.older_ids import older_ids
from asynccache.resolve.requests.requirement_text import canonical_version
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.requests.source_position import SourcePosition
from asynccache.resolve.requests.virtual_packages import VirtualPackage
from tests.support.environments import environment_of

VECTORS: dict[str, dict[str, Any]] = {
    v["id"]: v
    for v in json.loads((Path(__file__).resolve().parents[2] / "compat" / "vectors.json").read_text("utf-8"))["req"]
}
SETTINGS = Settings(sys_default_packages={"linux-64": {"__glibc": "2.27"}}, channels=["conda-forge"])
MACHINE = Machine("linux-64", "3.11.7", (VirtualPackage("__glibc", "2.36"), VirtualPackage("__unix", "0")), ())


def only(found: Mapping[str, Assembled]) -> Assembled:
    (assembled,) = found.values()
    return assembled


def step(deps: Mapping[str, Mapping[str, str]], *, python: str | None = None, **options: Any) -> Assembled:
    asked = Requirements.of(
        deps, python=python, sources=options.pop("sources", None), extras=options.pop("extras", None)
    )
    return only(
        assemble(
            asked, arches=["linux-64"], settings=SETTINGS, datastore="local", step=True, machine=MACHINE, **options
        )
    )


def canonical(packages: Mapping[str, str]) -> dict[str, str]:
    return {name: canonical_version(text) for name, text in packages.items()}


BASE = {"numpy": "1.26.4"}
STEPS: dict[str, Any] = {
    "R19": lambda: step({"conda": {**BASE, "libfoo": ">=1.0"}}, python="3.11.*", sources={"conda": ["mychan"]}),
    "R20": lambda: step({"conda": BASE}, python="3.11.*"),
    "R21": lambda: step({"conda": {"libfoo": "1.2.0"}, "pypi": canonical({"six": "1.16.0"})}, python="3.11.*"),
    "R22": lambda: step(
        {
            "pypi": canonical({"six": "1.16.0"}),
            "npconda": canonical({"libfoo": "1.2.0"}),
            "sys": {"__glibc": "2.17"},
        },
        python=canonical_version(">=3.8,<3.12"),
    ),
    "R23": lambda: step(
        {"pypi": canonical({"itsdangerous": "2.1.0", "six": "==1.16.0", "idna": "", "certifi": ">=2020.1.0"})},
        python=canonical_version("3.11.0"),
        sources={"pypi": ["https://extra.test/simple"]},
    ),
    "R24": lambda: step(
        {"pypi": canonical({"itsdangerous": "2.1.0", "six": "==1.16.0", "idna": "", "certifi": ">=2020.1.0"})},
        python=canonical_version("3.11.0"),
        sources={"pypi": ["https://extra.test/simple"]},
        extras={"pypi": ["--pre"]},
    ),
    "R25": lambda: step({"pypi": {"itsdangerous": "2.1.2", "six": ">=1.15", "python": "3.11.2"}}, python="3.11.2"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_steps_request_has_the_recorded_id(name: str) -> None:
    assembled = STEPS[name]()
    assert assembled.request.req_id == VECTORS[name]["req_id"]
    assert assembled.environment_type == VECTORS[name]["type_from_deps"]


def test_resolve_gives_a_file_the_id_that_the_same_step_has() -> None:
    asked = read_environment_yml("dependencies:\n- numpy=1.26.4\n", SourcePosition("environment.yml"))
    found = assemble(asked, arches=["linux-64"], settings=SETTINGS, datastore="local", python="3.11.*", machine=MACHINE)
    assert only(found).request.req_id == VECTORS["R20"]["req_id"]


@pytest.mark.parametrize("name", VECTORS)
def test_values_of_every_vector_survive_being_read_as_requirements(name: str) -> None:
    vector = VECTORS[name]
    deps = {c: dict.fromkeys(values, "") for c, values in vector["deps"].items()}
    asked = Requirements.of(deps, sources=vector["sources"], extras=vector["extras"])
    if name == "R15":  # a repeated requirement, which people cannot write: files and decorators hold a name once
        assert asked.values("conda").count("a") == 1
        return
    request = Request({c: asked.values(c) for c in vector["deps"]}, asked.sources, asked.extras)
    assert request.req_id == vector["req_id"]
    assert request.environment_type == vector["type_from_deps"]


def from_lines(text: str, **options: Any) -> Assembled:
    arguments = {"arches": ["linux-64"], "settings": SETTINGS, "datastore": None, "machine": MACHINE, **options}
    return only(assemble(read_requirements_txt(text, SourcePosition("requirements.txt")), **arguments))


def test_pins_come_first_in_resolve_and_second_in_a_step() -> None:
    asked = Requirements.of({"conda": {"requests": "2.30", "a": ""}})
    common: dict[str, Any] = {"arches": ["linux-64"], "settings": SETTINGS, "datastore": "local", "machine": MACHINE}
    assert "requests==>=2.21.0,==2.30" in only(assemble(asked, **common)).request.deps["conda"]
    assert "requests==2.30,>=2.21.0" in only(assemble(asked, step=True, **common)).request.deps["conda"]


@pytest.mark.parametrize(
    ("datastore", "pins"),
    [
        ("local", {"requests"}),
        ("s3", {"requests", "boto3"}),
        ("azure", {
            "requests", "azure-identity", "azure-storage-blob", "azure-keyvault-secrets",
            "simple-azure-blob-downloader",
        }),
        ("gs", {
            "requests", "google-cloud-storage", "google-auth", "google-cloud-secret-manager",
            "simple-gcp-object-downloader", "packaging",
        }),
    ],
)  # fmt: skip
def test_pins_depend_on_the_datastore_and_follow_the_type(datastore: str, pins: set[str]) -> None:
    pypi = from_lines("six==1.16.0", datastore=datastore).request.deps
    assert {value.partition("==")[0] for value in pypi["pypi"]} == {*pins, "six"}
    assert list(pypi["conda"]) == ["python==3.11.7"]
    conda = from_lines("--conda-pkg x", datastore=None).request.deps
    assert conda["npconda"] == ["x"]
    with pytest.raises(UsageError, match=r"a datastore has an unknown type: expected local, .*found 'disk'"):
        from_lines("six", datastore="disk")


def test_a_pin_holds_beside_a_requirement_with_a_marker() -> None:
    values = from_lines('requests==2.1; sys_platform == "win32"', datastore="local").request.deps["pypi"]
    assert values == ["requests==>=2.21.0", 'requests==2.1;sys_platform == "win32"']


def test_python_is_the_command_lines_the_files_or_the_machines() -> None:
    assert from_lines("six", python=">=3.8,<3.9").request.deps["conda"] == ["python==>=3.8,<3.9"]
    assert from_lines("python==3.10\nsix").request.deps["conda"] == ["python==3.10"]
    assert from_lines("six").request.deps["conda"] == ["python==3.11.7"]
    assert from_lines("six", step=True).request.deps["conda"] == ["python==3.11.*"]
    with pytest.raises(UsageError, match="the version of Python is given twice"):
        from_lines("python==3.10", python="3.11")


def test_architectures_resolved_together_share_one_id_and_alone_they_do_not() -> None:
    both = assemble(
        Requirements.of({"conda": {"a": "1", "b": ""}}),
        arches=["osx-arm64", "linux-64", "osx-arm64"], settings=SETTINGS, datastore=None, machine=MACHINE,
    )  # fmt: skip
    assert list(both) == ["osx-arm64", "linux-64"]
    assert len({assembled.request.req_id for assembled in both.values()}) == 1
    assert all(assembled.request.deps["sys"] == ["__glibc==2.36=0"] for assembled in both.values())
    alone = from_lines("--conda-pkg a\nsix", arches=["osx-arm64"])
    assert "sys" not in alone.request.deps


def test_the_request_of_one_file_is_the_same_on_every_machine_when_virtual_packages_are_pinned() -> None:
    other = Machine("osx-arm64", "3.11.7", (VirtualPackage("__osx", "14.0"),), ())
    pinned = replace(SETTINGS, pin_virtual_packages=True)
    ids = {from_lines("six", settings=pinned, machine=machine).request.req_id for machine in (MACHINE, other)}
    assert len(ids) == 1
    assert ids != {from_lines("six").request.req_id}


def test_indexes_enter_sources_by_the_type_before_python_is_added() -> None:
    asked = Requirements.of({"conda": {"a": ""}}, sources={"pypi": ["https://u/simple"]})
    common: dict[str, Any] = {"arches": ["linux-64"], "settings": SETTINGS, "machine": MACHINE}
    alone = only(assemble(asked, datastore=None, **common))
    assert alone.environment_type == "conda-only"
    assert alone.request.sources["pypi"] == ["https://pypi.org/simple", "https://u/simple"]
    pinned = only(assemble(asked, datastore="local", **common))
    assert "pypi" not in pinned.request.sources


def test_credentials_of_files_and_of_the_machines_configuration_never_enter_a_request() -> None:
    machine = Machine("linux-64", "3.11.7", (), (("global.index-url", "https://me:hidden@conf/simple"),))
    found = from_lines("--extra-index-url https://u:secret@file/simple\nsix", machine=machine)
    assert found.request.sources["pypi"] == ["https://conf/simple", "https://file/simple"]
    assert found.auth == {"conf": ["me", "hidden"], "file": ["u", "secret"]}
    assert "secret" not in repr(found)
    assert "hidden" not in repr(found)


def test_a_request_is_looked_up_with_the_credentials_as_they_were_written_too() -> None:
    conf, file = "https://me:p%3dw%2d1@conf/simple", "https://u:a%40b@file/simple"
    machine = Machine("linux-64", "3.11.7", (), (("global.index-url", conf),))
    found = from_lines(f"--extra-index-url {file}\n--find-links https://u:x@more/\nsix", machine=machine)
    there = Request(
        found.request.deps,
        {**found.request.sources, "pypi": [file, conf]},
        {"pypi": ["--find-links https://u:x@more/"]},
    )
    assert older_ids(found.request, Settings(), found.written)[0] == there.req_id
    assert "p%3dw" not in repr(found)


def test_a_second_index_of_pips_configuration_is_told_once_for_what_has_indexes() -> None:
    machine = Machine("linux-64", "3.11.7", (), (("global.index-url", "https://i"), ("install.index-url", "https://j")))
    found = from_lines("six", machine=machine)
    assert found.request.sources["pypi"] == ["https://i"]
    assert [note for note in found.notes if "https://j" in note] == list(found.notes)
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("asked", "value"),
    [("*", "a"), (">=1,*", "a==>=1"), ("*;os_name == 'posix'", "a;os_name == 'posix'"), ("1.*", "a==1.*")],
)
def test_a_star_is_no_constraint(asked: str, value: str) -> None:
    options: dict[str, Any] = {"arches": ["linux-64"], "settings": SETTINGS, "machine": MACHINE}
    for category in ("conda", "pypi"):
        found = only(assemble(Requirements.of({category: {"a": asked}}), datastore=None, step=True, **options))
        assert value in found.request.deps[category]


@given(st.randoms(use_true_random=False))
def test_the_order_of_everything_does_not_matter_for_the_id(shuffle: random.Random) -> None:
    def mixed(items: list[str]) -> list[str]:
        items = list(items)
        shuffle.shuffle(items)
        return items

    def req_id(names: list[str], channels: list[str], indexes: list[str], flags: list[str]) -> str:
        asked = Requirements.of(
            {"conda": dict.fromkeys(names, "1"), "pypi": dict.fromkeys(names, "")},
            sources={"conda": channels, "pypi": indexes}, extras={"pypi": flags},
        )  # fmt: skip
        return only(
            assemble(asked, arches=["linux-64"], settings=SETTINGS, datastore="s3", machine=MACHINE)
        ).request.req_id

    parts = (["a", "b", "c"], ["x", "y"], ["https://i/1", "https://i/2"], ["--pre", "-f /w"])
    assert req_id(*map(mixed, parts)) == req_id(*parts)


def test_channels_reach_the_solver_in_the_users_order() -> None:
    asked = read_environment_yml("channels: [z, a, m]\ndependencies: [x, y]\n", SourcePosition("environment.yml"))
    found = only(assemble(asked, arches=["linux-64"], settings=SETTINGS, datastore=None, machine=MACHINE))
    assert found.request.sources["conda"] == ["z", "a", "m", "conda-forge"]


@pytest.mark.parametrize(
    ("deps", "base", "kind"),
    [
        ({}, None, "conda-only"), ({"conda": {"a": ""}}, None, "conda-only"), ({"pypi": {"a": ""}}, None, "pypi-only"),
        ({"conda": {"a": ""}, "pypi": {"b": ""}}, None, "mixed"), ({"npconda": {"a": ""}}, None, "conda-only"),
        ({"pypi": {"a": ""}}, "conda-only", "mixed"), ({"pypi": {"a": ""}}, "pypi-only", "pypi-only"),
        ({"pypi": {"a": ""}}, "mixed", "mixed"), ({}, "mixed", "conda-only"), ({}, "pypi-only", "pypi-only"),
    ],
)  # fmt: skip
def test_the_type_of_a_step_follows_what_it_asks_for_and_its_base(
    deps: dict[str, dict[str, str]], base: str | None, kind: str
) -> None:
    assert step_type(Requirements.of(deps), base) == kind


def test_a_clone_asks_for_the_same_with_this_targets_virtual_packages() -> None:
    source = environment_of([], "a", "python==3.11.*")
    source = replace(
        source,
        request=Request(
            {**source.request.deps, "sys": ["__glibc==2.17=0"]}, source.request.sources, {"pypi": ["--pre"]}
        ),
    )
    found = clone(source, arches=["linux-64", "osx-arm64"], settings=SETTINGS, machine=MACHINE)
    assert list(found) == ["linux-64", "osx-arm64"]
    request = found["osx-arm64"].request
    assert request.deps == {"conda": ["a", "python==3.11.*"], "sys": ["__glibc==2.36=0"]}
    assert (request.sources, dict(request.extras)) == ({"conda": ["conda-forge"]}, {})
    with pytest.raises(UsageError, match="no architecture was given"):
        clone(source, arches=[], settings=SETTINGS)
    with pytest.raises(UsageError, match="no environment was given"):
        clone({}, arches=["linux-64"], settings=SETTINGS)


def test_identifying_a_request_needs_no_parser_of_files_and_no_solver() -> None:
    code = "import sys, asynccache.resolve.requests.assemble; print({'yaml', 'rattler', 'aiohttp'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"


def test_unknown_categories_and_architectures_are_refused() -> None:
    with pytest.raises(UsageError, match=r"deps have an unknown category: expected conda, .*found rpm"):
        Requirements.of({"rpm": {"a": ""}})
    with pytest.raises(UsageError, match="an architecture has an unknown name"):
        from_lines("six", arches=["win-64"])


def test_what_pip_is_configured_with_reaches_the_solver_and_not_the_request(tmp_path: Path) -> None:
    def ask(*entries: tuple[str, str]) -> Assembled:
        machine = Machine("3.11.7", detected=(), pip_entries=entries)
        options: dict[str, Any] = {"arches": ["linux-64"], "settings": Settings(), "datastore": None}
        return assemble(Requirements.of({"pypi": {"six": ""}}), machine=machine, **options)["linux-64"]

    links = f"https://me:pw@host/links?a=b\n{tmp_path} {tmp_path}/absent"
    found = ask(("global.find-links", links), ("global.no-index", "true"), ("install.trusted-host", "h h:8"))
    assert found.pip_flags == (
        "--no-index",
        "--find-links https://host/links?a=b",
        f"--find-links {tmp_path}",
        "--trusted-host h",
        "--trusted-host h:8",
    )
    read = Flags.read(found.pip_flags)
    assert read == Flags(False, True, ("https://host/links?a=b", str(tmp_path)), ("h", "h:8"))
    assert ask((":env:.no-index", "false"), ("global.no-index", "true")).pip_flags == ()
    assert found.auth == {"host": ["me", "pw"]}
    assert found.request == ask().request
