from __future__ import annotations

import os
import platform
import sys

import pytest

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.identity import Request
from asynccache.resolve.requests.markers import candidate_pythons, python_allows, without_markers

SETTINGS = Settings()


def request(*values: str, python: str = "3.11.*", category: str = "pypi") -> Request:
    deps = {"conda": [f"python=={python}"]}
    deps.setdefault(category, []).extend(values)
    return Request(deps)


@pytest.mark.parametrize("category", ["pypi", "conda"])
def test_markers_are_removed_for_the_solver_and_stay_in_the_identity(category: str) -> None:
    asked = request('a==1;sys_platform == "linux"', 'b;sys_platform == "darwin"', "c==>=2", category=category)
    before = asked.req_id
    seen = without_markers(asked, "linux-64", SETTINGS)
    assert [v for v in seen.deps[category] if not v.startswith("python")] == ["a==1", "c==>=2"]
    assert asked.req_id == before != seen.req_id
    plain = request("a==1", "c==>=2", category=category)
    assert without_markers(plain, "linux-64", SETTINGS) is plain


@pytest.mark.parametrize(
    ("arch", "chosen"),
    [
        ("linux-64", ["linux", "x86"]),
        ("linux-aarch64", ["linux", "arm-linux"]),
        ("osx-64", ["mac", "x86"]),
        ("osx-arm64", ["mac", "arm-mac"]),
    ],
)
def test_the_architecture_decides_and_not_this_machine(
    arch: str, chosen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    monkeypatch.setattr(os, "name", "plan9")
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    monkeypatch.setattr(platform, "system", lambda: "Plan 9")
    asked = request(
        'linux;sys_platform == "linux" and os_name == "posix"',
        'mac;platform_system == "Darwin"',
        'x86;platform_machine == "x86_64"',
        'arm-linux;platform_machine == "aarch64"',
        'arm-mac;platform_machine == "arm64"',
        'windows;sys_platform == "win32"',
        'host;platform_machine == "pdp11" or sys_platform == "plan9"',
        'pypy;platform_python_implementation == "PyPy" or implementation_name == "pypy"',
    )
    assert without_markers(asked, arch, SETTINGS).deps["pypi"] == chosen


def test_sys_markers_lie_over_what_the_architecture_implies() -> None:
    settings = Settings(sys_markers={"osx-arm64": {"platform_release": "22.1.0", "platform_machine": "other"}})
    asked = request('a;platform_release >= "22"', 'b;platform_machine == "other"')
    assert without_markers(asked, "osx-arm64", settings).deps["pypi"] == ["a", "b"]
    with pytest.raises(UsageError, match="not supported: the architecture linux-64 does not imply platform_release"):
        without_markers(asked, "linux-64", settings)


@pytest.mark.parametrize(
    ("python", "marker", "holds"),
    [
        ("3.11.*", 'python_version < "3.12"', True),
        ("3.11", 'python_full_version >= "3.11.2"', None),
        ("3.11.2", 'python_full_version >= "3.11.2"', True),
        (">=3.8,<3.10", 'python_version < "3.9"', None),
        (">=3.8,<3.10", 'python_version >= "3.8"', True),
        ("<3.10,>=3.8", 'python_version in "3.11 3.12"', False),
        (">=3", 'python_version >= "3"', True),
        (">=3.8, <3.9", 'python_version == "3.8"', True),
        ("==3.11.*", 'python_version == "3.11"', True),
        ("3.6.15", 'python_version < "3.7"', True),
        ("3.8.*=abc", 'python_version < "3.9"', True),
        (">=3.8,<3.9", '"3.8" == python_version and os_name == "posix"', True),
    ],
)
def test_a_marker_must_have_one_answer_for_every_python_that_is_allowed(
    python: str, marker: str, holds: bool | None
) -> None:
    asked = request(f"a;{marker}", python=python)
    if holds is None:
        with pytest.raises(UsageError, match=r"Ambiguous package marker .*: true for Python 3\.\d+\.\d+, false for"):
            without_markers(asked, "linux-64", SETTINGS)
    else:
        assert list(without_markers(asked, "linux-64", SETTINGS).deps["pypi"]) == (["a"] if holds else [])


def test_a_marker_that_asks_for_an_extra_and_one_that_is_none_are_refused() -> None:
    with pytest.raises(UsageError, match="does not imply extra; write the requirement without it"):
        without_markers(request('a;extra == "x"'), "linux-64", SETTINGS)
    with pytest.raises(UsageError, match="'nonsense' is no environment marker"):
        without_markers(request("a;nonsense"), "linux-64", SETTINGS)


def test_lines_of_one_package_chosen_by_markers_become_one() -> None:
    asked = request('a==1;python_version < "3.9"', 'a==2;python_version >= "3.9"', 'b==1;os_name == "posix"', "b==1")
    assert without_markers(asked, "linux-64", SETTINGS).deps["pypi"] == ["a==2", "b==1"]


def test_an_address_keeps_its_text_when_its_marker_goes() -> None:
    asked = request('clip@git+https://host/c.git@v1#a==b;sys_platform == "linux"')
    assert without_markers(asked, "linux-64", SETTINGS).deps["pypi"] == ["clip@git+https://host/c.git@v1#a==b"]


def test_pythons_are_those_of_the_contract() -> None:
    every = candidate_pythons("")
    assert (every[0], every[-1], len(every)) == ("3.7.0", "3.15.25", 9 * 26)
    assert candidate_pythons("==3.20.1") == ["3.20.1"]
    for constraint in (">=3.16", ">=3.8,<3.8"):
        with pytest.raises(UsageError, match="no Python version satisfies the request"):
            candidate_pythons(constraint)
    with pytest.raises(UsageError, match="the version of Python is malformed"):
        candidate_pythons("three")
    assert python_allows("3.11", "3.11.7")
    assert python_allows("3", "3.11.7")
    assert not python_allows(">=3.8,<3.11", "3.11.7")


def test_alternatives_of_python_are_each_candidates() -> None:
    found = candidate_pythons("==3.10|==3.12.*,!=3.12.1")
    assert {"3.10.0", "3.10.7", "3.12.0"} < set(found)
    assert not {"3.11.0", "3.12.1"} & set(found)
