"""The digest of an environment: what it stands for, and what it refuses."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

import pytest

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.environment_digest import DigestList, EnvironmentDigest, common_digest, split_name
from asynccache.model.identity import EnvID, Request

_SHA, _OTHER = "ab" * 32, "cd" * 32
_KEY = f"packages/conda/h/c/noarch/a-1.0-0.conda/{'1' * 32}/a-1.0-0.conda"


def _package(name: str, **hashes: str) -> EnvironmentPackage:
    return EnvironmentPackage("conda", f"{name}-1.0-0", f"https://h/c/noarch/{name}-1.0-0.conda", ".conda", hashes)


def _environment(*packages: EnvironmentPackage, arch: str = "linux-64") -> ResolvedEnvironment:
    env_id = EnvID("1" * 40, "2" * 40, arch)
    return ResolvedEnvironment(env_id, Request(), packages, datetime(2026, 1, 1), "ann", (arch,))  # noqa: DTZ001


def _of(*packages: EnvironmentPackage, pack: str = "", arch: str = "linux-64") -> EnvironmentDigest:
    found = EnvironmentDigest.of(_environment(*packages, arch=arch), {}, pack)
    assert found is not None
    return found


def test_the_text_is_the_documented_one_and_the_digest_is_its_sha256() -> None:
    digest = _of(_package("b", sha256=_SHA), _package("a", sha256=_OTHER), pack="ef" * 32)
    assert digest.text.decode() == (
        "asynccache environment 1\n"
        f"environment {'1' * 40} {'2' * 40} linux-64\n"
        f"package b-1.0-0 .conda .conda={_SHA}\n"
        f"package a-1.0-0 .conda .conda={_OTHER}\n"
        f"pack {'ef' * 32}\n"
    )
    assert digest.sha256 == hashlib.sha256(digest.text).hexdigest()
    assert EnvironmentDigest.parse(digest.text) == digest


def test_a_package_of_which_only_md5_is_known_has_no_digest_until_its_bytes_were_read() -> None:
    package = replace(_package("a", **{".conda": "1" * 32}), cached={".conda": _KEY})
    environment = _environment(package)
    assert EnvironmentDigest.of(environment) is None
    found = EnvironmentDigest.of(environment, {_KEY: _SHA})
    assert found is not None
    assert found.packages[0].forms == {".conda": _SHA}


def test_a_wheel_that_was_built_here_counts_by_its_own_digest() -> None:
    wheel = EnvironmentPackage("pypi", "a-1-py3-none-any", "file://_fake/local-x/a-1", ".tar.gz", {".whl": _SHA})
    assert _of(wheel).packages[0].line == f"package a-1-py3-none-any .tar.gz .whl={_SHA}"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"asynccache environment 1\n",
        b"asynccache environment 2\nenvironment %b %b linux-64\n" % (b"1" * 40, b"2" * 40),
        b"asynccache environment 1\nenvironment x y linux-64\n",
        b"asynccache environment 1\nenvironment %b %b linux-64" % (b"1" * 40, b"2" * 40),
        b"asynccache environment 1\nenvironment %b %b linux-64\npackage a .conda\n" % (b"1" * 40, b"2" * 40),
        b"asynccache environment 1\nenvironment %b %b linux-64\npackage a .conda .exe=%b\n"
        % (b"1" * 40, b"2" * 40, b"a" * 64),
        b"\xff",
    ],
)
def test_what_is_no_text_of_a_digest_is_refused(text: bytes) -> None:
    with pytest.raises(IntegrityError):
        EnvironmentDigest.parse(text)


def test_an_applied_digest_binds_every_form_and_stands_in_no_document() -> None:
    package = _package("a", **{".conda": "1" * 32})
    bound = replace(_of(_package("a", sha256=_SHA)), packages=_of(_package("a", sha256=_SHA)).packages)
    applied = bound.applied(_environment(package))
    assert applied.packages[0].digests_of(".conda").sha256 == _SHA
    assert applied.digest == bound
    assert _SHA not in applied.to_json().decode()


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        (_environment(_package("a", sha256=_OTHER)), "a-1.0-0.conda is another"),
        (_environment(_package("c", sha256=_SHA)), "its packages are others"),
        (_environment(_package("a", sha256=_SHA), _package("b", sha256=_SHA)), "its packages are others"),
        (_environment(), "its packages are others"),
        (_environment(_package("a", sha256=_SHA), arch="osx-64"), "is not what"),
    ],
)
def test_a_document_that_holds_something_else_is_refused(environment: ResolvedEnvironment, what: str) -> None:
    with pytest.raises(IntegrityError, match=what):
        _of(_package("a", sha256=_SHA)).applied(environment)


def test_environments_resolved_together_are_named_by_the_digest_of_the_sorted_list() -> None:
    one, other = _of(_package("a", sha256=_SHA)), _of(_package("a", sha256=_SHA), arch="osx-64")
    text = f"asynccache environments 1\nlinux-64 {one.sha256}\nosx-64 {other.sha256}\n"
    assert common_digest([other, one]) == hashlib.sha256(text.encode()).hexdigest()
    assert common_digest([one]) == one.sha256
    assert DigestList.parse(text.encode()) == DigestList({"linux-64": one.sha256, "osx-64": other.sha256})
    assert DigestList.parse(one.text) is None
    with pytest.raises(IntegrityError):
        DigestList.parse(text.replace("linux-64", "zos").encode())


def test_a_name_is_split_from_the_digest_behind_it() -> None:
    assert split_name(f"team/env:v1@sha256:{_SHA}") == ("team/env:v1", _SHA)
    for text in (f"@sha256:{_SHA}", "t:v1@sha256:", "t:v1@sha256:ab", f"t:v1@sha256:{_SHA.upper()}"):
        with pytest.raises(UsageError, match="digest of an environment"):
            split_name(text)
