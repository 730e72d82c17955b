"""Environments of real packages in a local store, as tests of hydration need them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from asynccache.engine.engine import Engine
from asynccache.model.digest import digest_file
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.model.package import KEY_ALGORITHM, Format, Package, split_filename
from asynccache.model.platform import current_architecture
from tests.support.channel import Channel

UNSUITABLE = {"feature-unsatisfiable", "feature-variant"}  # not of one environment


def packages_of(paths: Iterable[Path]) -> list[Package]:
    """Return archives as they are published at their own `file:` addresses, with their digests."""
    return [Package.from_url(path.absolute().as_uri(), digest_file(str(path), "md5", "sha256")) for path in paths]


def environment_with(packages: Sequence[Package], *, arch: str | None = None, note: str = "a") -> ResolvedEnvironment:
    """Return an environment of published packages; `note` makes requests differ."""
    arch = arch or current_architecture()
    found = [
        EnvironmentPackage(
            p.kind,
            p.stem,
            str(p.url),
            str(p.url_format),
            {str(p.url_format): p.digests.get(KEY_ALGORITHM[p.kind]) or ""},
        )
        for p in packages
    ]
    request = Request({"conda": [note, "python==3.11.*"]}, {"conda": ["conda-forge"]})
    kinds = {p.kind for p in packages}
    unnamed = ResolvedEnvironment(
        EnvID(request.req_id, "0" * 40, arch),
        request,
        tuple(found),
        datetime(2026, 1, 1, 12, 30),  # noqa: DTZ001 - documents carry local time without zone
        "ann",
        (arch,),
        "mixed" if len(kinds) > 1 else "conda-only",
    )
    return replace(unnamed, id=EnvID(request.req_id, unnamed.computed_full_id(), arch))


async def cached(
    engine: Engine, packages: Sequence[Package], *, wanted: Format | None = None, **about: str
) -> ResolvedEnvironment:
    """Put packages into the engine's store; return their environment, whose document records where they are.

    Args:
        engine: An open engine.
        packages: Which, in the order of the document.
        wanted: Format that the store shall hold of conda packages; None for the published one.
        about: For `environment_with`.
    """
    report = await engine.cache(packages, wanted=wanted)
    report.raise_for_failures()
    environment = environment_with(packages, **about)
    keys = {outcome.url: outcome.forms[0].key for outcome in report.outcomes}
    recorded = [p.with_cached(split_filename(keys[p.url])[1], keys[p.url]) for p in environment.packages]
    return replace(environment, packages=tuple(recorded))


def channel_paths(channel: Channel, *names: str) -> list[Path]:
    """Return one archive of each package that can be in one environment, of all or of those named."""
    return [p.path for p in channel.one_format(*names) if p.name not in UNSUITABLE]
