"""Packages as programs know them from metaflow-netflixext (contract, section 13).

Where keys are made, `asynccache.store` is asked: it comes with the call. Standard library, Python 3.7.
"""

from __future__ import annotations

import hashlib
from typing import Any, Mapping, Sequence

_HASHES = {"conda": "md5", "pypi": "sha256"}
_FORMATS = {"conda": (".tar.bz2", ".conda"), "pypi": (".whl", ".tar.gz", ".zip")}
_BLOCK = 1 << 20  # bytes that are digested at once


class CachePackage:
    """Where an archive is in the cache.

    Args:
        url: Its key, relative to the root.
    """

    TYPE = "invalid"

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def hash(self) -> str:
        """Digest of the archive, as its key says."""
        return self.url.split("/")[-2]

    @property
    def format(self) -> str:
        """Extension of the archive."""
        return next(fmt for fmt in _FORMATS[self.TYPE] if self.url.endswith(fmt))

    @classmethod
    def make_cache_url(
        cls, base_url: str, filename: str, file_format: str, file_hash: str, is_real_url: bool = True
    ) -> str:
        """Return the key of an archive.

        Raises:
            UsageError: There is nothing to make a key of.
        """
        from asynccache.api.flows import key_of  # noqa: PLC0415 - Python 3.11

        kind: Any = cls.TYPE
        return key_of(kind, base_url, filename + file_format, file_hash, real=is_real_url)

    def to_dict(self) -> dict[str, str]:
        """Return what a document says of it."""
        return {"_type": self.TYPE, "url": self.url}


class CondaCachePackage(CachePackage):
    """Of a conda package."""

    TYPE = "conda"


class PypiCachePackage(CachePackage):
    """Of a PyPI package."""

    TYPE = "pypi"


class PackageSpecification:
    """One package of an environment.

    Args:
        filename: Archive name without extension.
        url: Where it, or what it is built from, is published.
        is_real_url: Whether something can be downloaded there.
        url_format: Extension of what is at `url`; None: as the address says.
        hashes: Format -> digest.
        cache_info: Format -> where it is in the cache.
        environment_marker: Marker that held when it was chosen.
    """

    TYPE = "invalid"

    def __init__(
        self,
        filename: str,
        url: str,
        is_real_url: bool = True,
        url_format: str | None = None,
        hashes: Mapping[str, str] | None = None,
        cache_info: Mapping[str, CachePackage] | None = None,
        environment_marker: str | None = None,
    ) -> None:
        scheme, mark, rest = url.partition("://")
        self.filename = filename
        self.url = url if is_real_url or rest.startswith("_fake/") else f"{scheme}{mark}_fake/{rest}"
        self.url_format = url_format or next((f for f in self.allowed_formats() if url.endswith(f)), ".whl")
        self.environment_marker = environment_marker
        self._hashes = dict(hashes or {})
        self._cached = dict(cache_info or {})
        self._local: dict[str, str] = {}
        stem = _stem(self.TYPE, filename)
        self.package_name, self.package_version, self.package_detailed_version = stem

    @classmethod
    def allowed_formats(cls) -> Sequence[str]:
        """Return the extensions that its archives can have."""
        return _FORMATS[cls.TYPE]

    @classmethod
    def base_hash_name(cls) -> str:
        """Return the name of the digest that identifies its archives."""
        return _HASHES[cls.TYPE]

    @classmethod
    def hash_pkg(cls, path: str) -> str:
        """Return that digest of a file. Blocking."""
        digest = hashlib.new(cls.base_hash_name())
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
        return digest.hexdigest()

    @property
    def pkg_hashes(self) -> list[tuple[str, str]]:
        """(format, digest) pairs."""
        return sorted(self._hashes.items())

    def pkg_hash(self, pkg_format: str) -> str | None:
        """Return the digest in a format, None if it is not known."""
        return self._hashes.get(pkg_format)

    @property
    def cached_versions(self) -> list[tuple[str, CachePackage]]:
        """(format, where it is in the cache) pairs."""
        return list(self._cached.items())

    def cached_version(self, pkg_format: str) -> CachePackage | None:
        """Return where an archive is in the cache, None if it is not known to."""
        return self._cached.get(pkg_format)

    def is_cached(self, formats: Sequence[str]) -> bool:
        """Return whether all these formats are in the cache."""
        return all(fmt in self._cached for fmt in formats)

    @property
    def local_files(self) -> list[tuple[str, str]]:
        """(format, path) pairs of archives on this machine."""
        return list(self._local.items())

    def local_file(self, pkg_format: str) -> str | None:
        """Return the path of an archive on this machine, None if there is none."""
        return self._local.get(pkg_format)

    def add_local_file(
        self,
        pkg_format: str,
        local_path: str,
        pkg_hash: str | None = None,
        downloaded: bool = False,
        replace: bool = False,
    ) -> None:
        """Note an archive on this machine.

        Raises:
            ValueError: It has another digest than is known, or another file is known.
        """
        found = pkg_hash or self.hash_pkg(local_path)
        known = self._hashes.get(pkg_format)
        if known is not None and known != found and not replace:
            raise ValueError(f"{local_path} is not {self.filename}{pkg_format}: expected {known}, found {found}")
        if not replace and self._local.get(pkg_format, local_path) != local_path:
            raise ValueError(f"{self.filename}{pkg_format} is {self._local[pkg_format]} already, not {local_path}")
        self._hashes[pkg_format] = found
        self._local[pkg_format] = local_path

    def is_downloadable_url(self, pkg_format: str | None = None) -> bool:
        """Return whether a format can be downloaded at `url`; None for the one that is published there."""
        return pkg_format in (None, self.url_format) and "//_fake/" not in self.url

    def to_dict(self) -> dict[str, Any]:
        """Return what a document says of it."""
        document: dict[str, Any] = {"_type": self.TYPE, "filename": self.filename, "url": self.url}
        document.update(url_format=self.url_format, hashes=dict(self._hashes))
        if self._cached:
            document["cache_info"] = {fmt: cached.to_dict() for fmt, cached in self._cached.items()}
        return document

    @staticmethod
    def from_dict(d: Mapping[str, Any]) -> PackageSpecification:
        """Read what a document says of a package."""
        kind = "pypi" if d["_type"] == "pip" else d["_type"]
        package, cached = _KINDS[kind]
        info = {fmt: cached(each["url"]) for fmt, each in (d.get("cache_info") or {}).items()}
        return package(d["filename"], d["url"], True, d["url_format"], d["hashes"], info)

    def __str__(self) -> str:
        return f"<{self.TYPE} package: {self.filename}>"

    __repr__ = __str__


class CondaPackageSpecification(PackageSpecification):
    """A conda package."""

    TYPE = "conda"


class PypiPackageSpecification(PackageSpecification):
    """A PyPI package."""

    TYPE = "pypi"


_KINDS = {
    "conda": (CondaPackageSpecification, CondaCachePackage),
    "pypi": (PypiPackageSpecification, PypiCachePackage),
}


def _stem(kind: str, filename: str) -> tuple[str, str, str]:
    if kind == "conda":
        name, version, build = filename.rsplit("-", 2)
        return name, version, f"{version}-{build}"
    parts = filename.split("-")
    build = parts[2] if len(parts) > 5 and parts[2][:1].isdigit() else ""
    return parts[0], parts[1] if len(parts) > 1 else "", build
