"""Environments made of a channel's packages, as tests of the catalog and of warming need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.model.package import Package

ARCH = "linux-64"


def environment_of(
    packages: Sequence[Package], *deps: str, arch: str = ARCH, by: str = "ann", day: int = 1
) -> ResolvedEnvironment:
    """Return an environment of published conda packages whose document records nothing of the store."""
    request = Request({"conda": sorted(deps) or ["a", "python==3.11.*"]}, {"conda": ["conda-forge"]})
    found = [
        EnvironmentPackage(
            p.kind, p.stem, str(p.url), str(p.url_format), {str(p.url_format): p.digests.md5 or ""}
        )
        for p in packages
    ]  # fmt: skip
    nothing = EnvID(request.req_id, "0" * 40, arch)
    when = datetime(2026, 1, day, 12, 30)  # noqa: DTZ001 - documents carry local time without zone
    unnamed = ResolvedEnvironment(nothing, request, tuple(found), when, by, (arch,), "conda-only")
    return replace(unnamed, id=EnvID(request.req_id, unnamed.computed_full_id(), arch))
