"""PyPI packages that were found: what is installed as it is, and what has to be built for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field

from packaging.utils import canonicalize_name

from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format, Package
from asynccache.resolve.resolver import SourceBuild


@dataclass(slots=True)
class PypiFound:
    """PyPI packages that were found.

    Attributes:
        packages: Wheels that are published.
        builds: The rest: sources, and wheels that only this machine has.
        sizes: URL -> bytes, where known.
    """

    packages: list[EnvironmentPackage] = field(default_factory=list)
    builds: list[SourceBuild] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)


def sorted_out(
    archives: Iterable[Package],
    sources: Sequence[SourceBuild] = (),
    *,
    published_below: Iterable[str] = (),
    hash_key: str | None = None,
) -> PypiFound:
    """Divide archives into what is installed as it is and what has to be built or brought first.

    Args:
        archives: Wheels and sources.
        sources: What has no archive.
        published_below: Addresses on this machine that count as indexes: wheels below them are published there.
        hash_key: Key that digests of wheels are recorded under; None for their format. Locks that were given use
            `sha256` (contract, section 10.5).
    """
    found = PypiFound(builds=list(sources))
    below = tuple(address.rstrip("/") + "/" for address in published_below if address.startswith("file:"))
    for archive in archives:
        address = str(archive.url)
        wheel = archive.url_format is Format.WHEEL
        if wheel and (archive.url.scheme != "file" or address.startswith(below)):
            digest, weak = archive.digests.sha256, archive.digests.md5
            hashes = {hash_key or str(Format.WHEEL): digest} if digest else {}
            if weak is not None and digest is None:
                hashes = {"md5": weak}
            found.packages.append(EnvironmentPackage("pypi", archive.stem, address, str(Format.WHEEL), hashes))
            if archive.digests.size is not None:
                found.sizes[address] = archive.digests.size
            continue
        name = archive.name
        digests = archive.digests
        found.builds.append(
            SourceBuild(
                canonicalize_name(name.name), name.version, address, "", digests.sha256, digests.size, digests.md5
            )
        )
    return found
