from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.errors import UnsatisfiableError, UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.resolve.extend import extend
from asynccache.resolve.requests.assemble import Assembled, Machine
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.requests.virtual_packages import VirtualPackage

FORGE = "https://conda.anaconda.org/conda-forge/linux-64"
OTHER = "https://host/chan/linux-64"
SETTINGS = Settings(sys_default_packages={"linux-64": {"__glibc": "2.27"}}, channels=["conda-forge"])
MACHINE = Machine("linux-64", "3.12.1", (VirtualPackage("__glibc", "2.36"),), ())
DEPS = {
    "conda": ["python==3.11.*", "numpy==>=1.20", "scikit-learn", "requests==>=2.21.0"],
    "sys": ["__glibc==2.36=0"],
}
CONDA = [
    f"{FORGE}/python-3.11.7-h1_0.conda",
    f"{FORGE}/numpy-1.26.4-py311_0.conda",
    f"{FORGE}/scikit-learn-1.3.0-py311_0.conda",
    f"{FORGE}/requests-2.31.0-py_0.conda",
    f"{FORGE}/openssl-1.1.1w-h0_0.conda",
    f"{OTHER}/b-1-h0_0.conda",
]
WHEELS = ["six-1.16.0-py2.py3-none-any", "Foo_Bar-1-py3-none-any"]


def base(
    conda: Sequence[str] = CONDA,
    wheels: Sequence[str] = (),
    *,
    deps: Mapping[str, Sequence[str]] | None = None,
    kind: str = "conda-only",
    **parts: Any,
) -> ResolvedEnvironment:
    packages = [
        EnvironmentPackage("conda", u.rpartition("/")[2][:-6], u, ".conda", {".conda": "0" * 32}) for u in conda
    ]
    packages += [EnvironmentPackage("pypi", w, f"https://files/{w}.whl", ".whl", {".whl": "0" * 64}) for w in wheels]
    request = Request(deps or DEPS, parts.get("sources", {"conda": ["conda-forge"]}), parts.get("extras", {}))
    when = datetime(2026, 1, 1)  # noqa: DTZ001 - documents carry local time without zone
    env_id = EnvID(request.req_id, "1" * 40, "linux-64")
    return ResolvedEnvironment(env_id, request, tuple(packages), when, "ann", ("linux-64",), kind)


def on(environment: ResolvedEnvironment, deps: Mapping[str, Mapping[str, str]], **options: Any) -> Assembled:
    asked = Requirements.of(
        deps,
        python=options.pop("python", None),
        sources=options.pop("sources", None),
        extras=options.pop("extras", None),
    )
    arguments: dict[str, Any] = {
        "arches": ["linux-64"], "settings": SETTINGS, "datastore": None, "machine": MACHINE, **options,
    }  # fmt: skip
    return extend({"linux-64": environment}, asked, **arguments)["linux-64"]


def test_additions_are_merged_into_what_the_base_was_asked_for_and_its_packages_travel_beside() -> None:
    environment = base()
    found = on(environment, {"conda": {"numpy": "<2", "pandas": ">=2"}}, sources={"conda": ["mine"]}, datastore="local")
    assert found.base is environment
    assert not found.compatible
    assert found.request.deps["conda"] == [
        "python==3.11.*", "numpy==>=1.20,<2", "scikit-learn", "requests==>=2.21.0", "pandas==>=2",
    ]  # fmt: skip
    assert found.request.deps["sys"] == ["__glibc==2.36=0"]
    assert found.request.sources == {"conda": ["conda-forge", "mine"]}
    assert found.environment_type == "conda-only"


@pytest.mark.parametrize(
    "deps",
    [
        {"conda": {"numpy": ""}},
        {"conda": {"numpy": "1.26.4"}},
        {"conda": {"conda-forge::numpy": ">=1.26,<2"}},
        {"conda": {"scikit-learn": ""}},
        {"conda": {"scikit-learn": "1.3"}},
        {"conda": {"b": "1"}},
        {"conda": {"b": "1.0.0"}},
        {"conda": {"b": ">=1"}},
        {"conda": {"openssl": ">=1.1.1a,<2"}},
        {"conda": {"numpy": "1.26.4=py311*"}},
        {"conda": {"numpy": ">=1.20=py311*"}},
        {"conda": {"numpy": "1.26.*"}},
        {"conda": {"numpy": "1.25|1.26.*"}},
        {"conda": {"absent": ";sys_platform == 'win32'"}},
        {"npconda": {"openssl": ""}},
    ],
)
def test_conda_packages_of_a_base_that_meet_everything_need_no_solving(deps: dict[str, dict[str, str]]) -> None:
    assert on(base(), deps).compatible


@pytest.mark.parametrize(
    "deps", [{"conda": {"pandas": ""}}, {"pypi": {"numpy": ""}}, {"conda": {"numpy": "", "x": "1"}}]
)
def test_a_package_that_the_base_does_not_have_needs_solving(deps: dict[str, dict[str, str]]) -> None:
    assert not on(base(), deps).compatible


PYPI_DEPS = {"conda": ["python==3.11.*"], "pypi": ["six[x]==1.16.0", "foo_bar@git+https://host/f.git"]}
PYPI_BASE = base(
    CONDA[:1], WHEELS, deps={**PYPI_DEPS, "sys": ["__glibc==2.36=0"]}, kind="pypi-only",
    sources={"conda": ["conda-forge"], "pypi": ["https://b/simple"]}, extras={"pypi": ["--pre"]},
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "compatible"),
    [
        ("six", "", True), ("Six", ">=1,<2", True), ("foo-bar", "1", True), ("foo.bar", "1.0.0", True),
        ("six[x]", ">=1", True), ("six[y]", ">=1", False), ("foo_bar@git+https://host/f.git", "", True),
        ("foo_bar@git+https://host/g.git", "", False), ("idna", "", False),
    ],
)  # fmt: skip
def test_pypi_packages_of_a_base_are_compared_by_name_version_extras_and_address(
    name: str, text: str, compatible: bool
) -> None:
    assert on(PYPI_BASE, {"pypi": {name: text}}).compatible is compatible


def test_a_constraint_that_the_base_does_not_keep_is_refused() -> None:
    asked = Requirements.of({"pypi": {"idna": ""}}, extras={"pypi": ["--constraint six<1.16"]})
    options: dict[str, Any] = {"arches": ["linux-64"], "settings": Settings(), "datastore": None}
    with pytest.raises(UnsatisfiableError, match=r"six<1\.16 is a constraint, the base environment has six 1\.16\.0"):
        extend({"linux-64": PYPI_BASE}, asked, **options)


def test_sources_and_flags_come_in_the_contracts_order() -> None:
    found = on(
        PYPI_BASE, {"pypi": {"idna": ""}},
        sources={"pypi": ["https://mine/simple"], "conda": ["c"]}, extras={"pypi": ["--no-index"]}, datastore="local",
    )  # fmt: skip
    assert found.environment_type == "pypi-only"
    assert found.request.sources == {
        "conda": ["conda-forge", "c"],
        "pypi": ["https://pypi.org/simple", "https://b/simple", "https://mine/simple"],
    }
    assert found.request.extras == {"pypi": ["--no-index", "--pre"]}
    assert "requests==>=2.21.0" in found.request.deps["pypi"]


@pytest.mark.parametrize(
    ("environment", "deps", "kind"),
    [
        (PYPI_BASE, {"pypi": {"idna": ""}}, "pypi-only"),
        (PYPI_BASE, {"conda": {"ffmpeg": ""}}, "mixed"),
        (base(), {"pypi": {"idna": ""}}, "mixed"),
        (base(wheels=WHEELS, kind="mixed"), {"conda": {"x": ""}}, "mixed"),
    ],
)
def test_the_type_follows_base_and_additions(
    environment: ResolvedEnvironment, deps: dict[str, dict[str, str]], kind: str
) -> None:
    assert on(environment, deps).environment_type == kind


@pytest.mark.parametrize("step", [False, True])
@pytest.mark.parametrize(
    ("environment", "deps", "category"),
    [
        (PYPI_BASE, {"conda": {"ffmpeg": ""}}, "pypi"),
        (PYPI_BASE, {"conda": {"ffmpeg": ""}, "pypi": {"idna": ""}}, "pypi"),
        (base(), {"pypi": {"idna": ""}}, "conda"),
        (base(wheels=WHEELS, kind="mixed"), {"pypi": {"idna": ""}}, "conda"),
    ],
)
def test_metaflows_pins_follow_the_kind_of_the_base(
    environment: ResolvedEnvironment, deps: dict[str, dict[str, str]], category: str, step: bool
) -> None:
    found = on(environment, deps, datastore="s3", step=step).request
    assert [c for c, values in found.deps.items() if any(v.startswith("boto3==") for v in values)] == [category]


@pytest.mark.parametrize(
    ("deps", "message"),
    [
        ({"conda": {"b": "2"}}, "b==2 is asked for, the base environment has b 1"),
        ({"conda": {"numpy": ">=2"}}, "numpy>=2 is asked for, the base environment has numpy 1.26.4"),
        ({"conda": {"bioconda::numpy": ""}}, "bioconda::numpy is asked for, .* has numpy of channel conda-forge"),
        ({"conda": {"numpy": "1.26.4=py310*"}}, "has numpy 1.26.4 py311_0"),
    ],
)
def test_what_contradicts_a_locked_package_is_refused_with_both(deps: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(UnsatisfiableError, match=message):
        on(base(), deps)


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(UnsatisfiableError, match=r"six==2 is asked for.*; foo-bar>1 is asked for"):
        on(PYPI_BASE, {"pypi": {"six": "2", "foo-bar": ">1"}})


@pytest.mark.parametrize(
    ("of_base", "given", "host", "result"),
    [
        ("2.31=0", None, "2.36", "2.31=0"),
        ("2.36=0", None, "2.31", "2.31=0"),
        ("2.36=0", "2.17", "2.36", "2.17"),
        ("2.4=0", None, "2.36", "2.4=0"),
    ],
)
def test_the_smaller_virtual_package_wins(of_base: str, given: str | None, host: str, result: str) -> None:
    environment = base(deps={**DEPS, "sys": [f"__glibc=={of_base}"]})
    deps = {"conda": {"numpy": ""}, "sys": {"__glibc": given} if given else {}}
    machine = Machine("linux-64", "3.12.1", (VirtualPackage("__glibc", host),), ())
    found = on(environment, deps, machine=machine)
    assert found.request.deps["sys"] == [f"__glibc=={result}"]
    assert found.compatible is (result == of_base)


def test_without_further_requirements_the_base_is_the_answer() -> None:
    environment = base()
    found = on(environment, {}, datastore="s3")
    assert found.request.req_id == environment.id.req_id
    assert found.compatible
    again = on(environment, {"conda": {"scikit-learn": ""}})
    assert again.request.req_id == environment.id.req_id
    assert again.compatible


def test_the_python_of_the_base_is_kept() -> None:
    assert "python==3.11.*" in on(base(), {"conda": {"x": ""}}, python=">=3.11,<3.13").request.deps["conda"]
    with pytest.raises(UsageError, match=r"another Python than the one asked for: expected '3.12', found 3.11.7"):
        on(base(), {"conda": {"x": ""}}, python="3.12")
    ignored = on(base(), {"conda": {"x": ""}}, python="3.12", step=True)
    assert ignored.notes == ("python 3.12 is ignored: the base environment has Python 3.11.7",)
    with pytest.raises(UsageError, match="Cannot determine Python version from the base environment"):
        on(base(CONDA[1:]), {"conda": {"x": ""}})


def test_a_base_that_is_not_there_for_an_architecture_is_named() -> None:
    asked = Requirements.of({"conda": {"x": ""}})
    common: dict[str, Any] = {"settings": SETTINGS, "datastore": None, "machine": MACHINE, "name": "team/env:v1"}
    with pytest.raises(UsageError, match="'team/env:v1' exists but is not available for architecture 'osx-64'"):
        extend({"linux-64": base()}, asked, arches=["linux-64", "osx-64"], **common)
    with pytest.raises(UsageError, match="Base environment 'team/env:v1' not found"):
        extend({}, asked, arches=["linux-64"], **common)


def test_unknown_virtual_packages_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Unhandled sys deps: expected __cuda and __glibc, found __osx"):
        on(base(), {"sys": {"__osx": "14"}})
    with pytest.raises(UsageError, match="Unhandled sys deps"):
        on(base(deps={**DEPS, "sys": ["__foo==1"]}), {"conda": {"x": ""}})


def test_a_marker_is_evaluated_with_the_bases_python() -> None:
    assert on(base(), {"conda": {"numpy": '9;python_full_version < "3.11.7"'}}).compatible
    with pytest.raises(UnsatisfiableError):
        on(base(), {"conda": {"numpy": '9;python_full_version >= "3.11.7"'}})


def test_extending_twice_with_the_same_changes_nothing() -> None:
    first = on(base(), {"conda": {"pandas": ">=2"}}, datastore="s3")
    environment = replace(
        base([*CONDA, f"{FORGE}/pandas-2.1.0-py311_0.conda", f"{FORGE}/boto3-1.34.0-py_0.conda"]),
        request=first.request, id=EnvID(first.request.req_id, "2" * 40, "linux-64"),
    )  # fmt: skip
    second = on(environment, {"conda": {"pandas": ">=2"}}, datastore="s3")
    assert second.request.req_id == first.request.req_id
    assert second.compatible
