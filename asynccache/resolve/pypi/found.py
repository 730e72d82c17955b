"""PyPI packages in a solution: what can be installed directly, and what has to be built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.utils import canonicalize_name

from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format, Package
from asynccache.resolve.resolver import Solution, SourceBuild


def sorted_out(
    archives: Iterable[Package],
    sources: Sequence[SourceBuild] = (),
    *,
    published_below: Iterable[str] = (),
    hash_key: str | None = None,
) -> Solution:
    """Divide archives into those that can be installed directly and those that have to be built first.

    Args:
        archives: Wheels and sources.
        sources: Sources without an archive.
        published_below: Local addresses that count as indexes: wheels below them count as published.
        hash_key: Key that digests of wheels are recorded under; None for their format. Lock files given by the user use
            `sha256` (contract, section 10.5).
    """
    packages: list[EnvironmentPackage] = []
    builds = list(sources)
    sizes: dict[str, int] = {}
    below = tuple(address.rstrip("/") + "/" for address in published_below if address.startswith("file:"))
    for archive in archives:
        address, digests = str(archive.url), archive.digests
        if archive.url_format is Format.WHEEL and (archive.url.scheme != "file" or address.startswith(below)):
            hashes = {hash_key or str(Format.WHEEL): digests.sha256} if digests.sha256 else {}
            if digests.md5 is not None and digests.sha256 is None:
                hashes = {"md5": digests.md5}
            packages.append(EnvironmentPackage("pypi", archive.stem, address, str(Format.WHEEL), hashes))
            if digests.size is not None:
                sizes[address] = digests.size
        else:
            name = archive.name
            builds.append(
                SourceBuild(
                    canonicalize_name(name.name), name.version, address, "", digests.sha256, digests.size, digests.md5
                )
            )
    return Solution(tuple(packages), tuple(builds), sizes=sizes)
