"""Verbs on packages: cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened
from asynccache.model.package import Package

if TYPE_CHECKING:
    from asynccache.engine.report import Report


class PackageVerbs(Opened):
    """What is done with packages."""

    async def cache(self, *urls: str, packages: Iterable[Package] = ()) -> Report:
        """Fetch packages, verify them and publish them in the store (see `asynccache cache`).

        Args:
            urls: Of packages, with a digest as fragment where it is known: `URL#MD5`, `URL#sha256=DIGEST`.
            packages: Further ones.

        Returns:
            The receipt, failures in it; the setting `preferred_format` says which form of conda packages is stored.

        Raises:
            UsageError: A URL is none of a package.
            StoreError: The store cannot be used.
        """
        everything = [*map(Package.from_url, urls), *packages]
        wanted = self.settings.wanted_format
        engine = await self._opening.engine()
        return await engine.cache(everything, wanted=wanted)
