"""A document whose packages amount to its id by none of the formulas is doubted, and no other one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from asynccache.model.doubts import doubts
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request, co_resolved_full_id, full_id

MD5, SHA = "1" * 32, "2" * 64


def _conda(**hashes: str) -> EnvironmentPackage:
    return EnvironmentPackage("conda", "a-1-0", "https://h/c/noarch/a-1-0.conda", ".conda", hashes)


def _wheel(**hashes: str) -> EnvironmentPackage:
    name = "b-1-py3-none-any"
    return EnvironmentPackage("pypi", name, f"https://h/{name}.whl", ".whl", hashes)


def _environment(packages: list[EnvironmentPackage], found: str, *archs: str, arch: str = "") -> ResolvedEnvironment:
    archs = archs or ("linux-64",)
    env_id = EnvID(Request().req_id, found, arch or archs[0])
    when = datetime(2026, 1, 1)  # noqa: DTZ001
    return ResolvedEnvironment(env_id, Request(), tuple(packages), when, "ann", archs)


@pytest.mark.parametrize(
    ("packages", "entries"),
    [
        ([_conda(**{".conda": MD5}), _wheel(**{".whl": SHA})], [MD5, SHA]),
        ([_conda(**{".conda": MD5, "sha256": SHA})], [MD5]),
        ([_conda(**{".conda": MD5, "sha256": SHA})], [None]),
        ([_conda(**{".conda": MD5, "sha256": SHA}), _wheel(**{".whl": SHA, "sha256": SHA})], [MD5, None]),
        ([_conda(**{".conda": MD5}), _wheel(**{".whl": SHA})], [None, None]),
    ],
    ids=["recorded", "with sha256", "of a list without md5", "of a lock", "cached later"],
)
def test_every_way_in_which_an_id_came_about_is_believed(
    packages: list[EnvironmentPackage], entries: list[str | None]
) -> None:
    named = [(p.filename, digest) for p, digest in zip(packages, entries, strict=True)]
    good = _environment(packages, full_id(named, "linux-64"))
    assert doubts(good) == []
    keyed = replace(good, id=replace(good.id, full_id=full_id(named, "linux-64", {"k": "v"})), unique_keys={"k": "v"})
    assert doubts(keyed) == []
    for other in (replace(good, packages=good.packages[1:]), replace(good, unique_keys={"k": "w"})):
        (sentence,) = doubts(other)
        assert "its packages amount to full_id" in sentence


def test_environments_resolved_together_are_judged_where_all_are_at_hand() -> None:
    archs = ("linux-64", "osx-64")
    common = co_resolved_full_id({arch: [("a-1-0", MD5)] for arch in archs})
    one, other = (_environment([_conda(**{".conda": MD5})], common, *archs, arch=arch) for arch in archs)
    assert doubts(one, [other]) == doubts(one) == []
    changed = replace(one, packages=(_conda(**{".conda": "3" * 32}),))
    assert doubts(changed) == []  # nobody can tell
    assert len(doubts(changed, [other])) == 1
