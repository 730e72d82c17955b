"""Packages: one conda package in its two formats, wheels and sdists; names as in their file names."""

from __future__ import annotations

import re
from dataclasses import field, replace
from enum import StrEnum
from typing import Final, Literal

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.url import Access, PackageURL

Kind = Literal["conda", "pypi"]


class Format(StrEnum):
    """An archive format, spelt as its file name extension."""

    CONDA = ".conda"
    TAR_BZ2 = ".tar.bz2"
    WHEEL = ".whl"
    TAR_GZ = ".tar.gz"
    ZIP = ".zip"

    @classmethod
    def conda(cls, text: str) -> Format:
        """Return a format of conda packages.

        Raises:
            UsageError: There is none of that name.
        """
        if text not in CONDA_FORMATS:
            raise UsageError("conda packages have no such format", expected=".conda or .tar.bz2", found=repr(text))
        return cls(text)

    @property
    def kind(self) -> Kind:
        """Which ecosystem the format belongs to."""
        return "conda" if self in CONDA_FORMATS else "pypi"

    @property
    def other(self) -> Format:
        """The other format of a conda package.

        Raises:
            UsageError: This is not a conda format.
        """
        if self is Format.CONDA:
            return Format.TAR_BZ2
        if self is Format.TAR_BZ2:
            return Format.CONDA
        raise UsageError(f"{self} has no other format", expected=".conda or .tar.bz2")

    def work(self, size: int | None) -> int:
        """Return how much work it is to read an archive of `size` bytes, to decide which one comes first.

        bzip2 takes some 16 times as long a byte as zstd and deflate (measured on Python's package in both formats).
        """
        return (size or 0) * (16 if self is Format.TAR_BZ2 else 1)


CONDA_FORMATS: Final = (Format.TAR_BZ2, Format.CONDA)
# The hash that names an object's directory in the cache: contract, section 3.1.
KEY_ALGORITHM: Final[dict[Kind, Literal["md5", "sha256"]]] = {"conda": "md5", "pypi": "sha256"}
# It is used in directories, files, keys and arguments of programs, so nothing else is allowed; with any extension it
# must fit into the 255 bytes of a file name.
_STEM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!~=,@-]{0,229}")
_EXTENSIONS: Final = tuple(Format)


def checked_stem(stem: str) -> str:
    """Return an archive's file name without its extension, or refuse it.

    Raises:
        UsageError: It could lead out of a directory, be taken for a flag or an extension, or is too long for a file.
    """
    if not _STEM.fullmatch(stem) or stem.endswith(_EXTENSIONS):
        raise UsageError(
            f"{stem[:240]!r} cannot be the name of a package",
            expected="up to 230 of A-Z, a-z, 0-9 and _.+!~=,@-, without an extension, a letter, digit or _ first",
        )
    return stem


def split_filename(filename: str) -> tuple[str, Format]:
    """Split an archive's file name into stem and format.

    Raises:
        UsageError: The extension is not that of a known format.

    >>> split_filename("numpy-1.26.4-py311h64a7726_0.tar.bz2")
    ('numpy-1.26.4-py311h64a7726_0', <Format.TAR_BZ2: '.tar.bz2'>)
    """
    for fmt in Format:
        if filename.endswith(fmt) and len(filename) > len(fmt):
            return filename[: -len(fmt)], fmt
    raise UsageError(
        f"{filename!r} is not a package file name", expected="a name that ends in " + ", ".join(f.value for f in Format)
    )


@dataclass(frozen=True, slots=True)
class DistributionName:
    """Name, version and build of an archive.

    Attributes:
        name: Package name.
        version: Version as in the archive's name (normalised for PyPI).
        build: conda build string, or a wheel's build tag; empty if there is none.
    """

    name: str
    version: str
    build: str

    def __str__(self) -> str:
        return "-".join(part for part in (self.name, self.version, self.build) if part)


def parse_stem(kind: Kind, stem: str) -> DistributionName:
    """Read name, version and build from a file name without its extension (contract, section 2.2).

    Raises:
        UsageError: The stem does not have the parts that its kind needs.
    """
    checked_stem(stem)
    if kind == "conda":
        parts = stem.rsplit("-", 2)
        if len(parts) != 3 or not all(parts):
            raise UsageError(f"{stem!r} is not a conda package name", expected="NAME-VERSION-BUILD")
        return DistributionName(*parts)
    # a tenth of what `asynccache transmute` takes to start, and conda packages do not need it
    from packaging.utils import (  # noqa: PLC0415
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    try:
        name, version, build, _tags = parse_wheel_filename(stem + ".whl")
    except InvalidWheelFilename:
        try:
            sdist_name, version = parse_sdist_filename(stem + ".tar.gz")
        except InvalidSdistFilename as exc:
            raise UsageError(
                f"{stem!r} is neither a wheel nor an sdist name",
                expected="NAME-VERSION-PYTHON-ABI-PLATFORM or NAME-VERSION",
            ) from exc
        return DistributionName(str(sdist_name), str(version), "")
    return DistributionName(str(name), str(version), "".join(str(part) for part in build))


@dataclass(frozen=True, slots=True)
class Package:
    """One published archive: its address, and what is known about its bytes.

    Attributes:
        url: Where it is published, without credentials.
        stem: File name without extension, percent-decoded.
        url_format: Format of the archive at `url`.
        digests: Known digests of the published bytes.
        access: What the request needs besides the URL; not compared and never written anywhere.
    """

    url: PackageURL
    stem: str
    url_format: Format
    digests: Digests = field(default_factory=Digests)
    access: Access = field(default_factory=Access, compare=False, repr=False)

    @classmethod
    def from_url(cls, text: str, digests: Digests | None = None) -> Package:
        """Read a package URL; a conda-style fragment (`#md5`, `#md5=...`, `#sha256=...`) adds a digest.

        Raises:
            UsageError: Not a package URL, or a fragment that is not a digest.
        """
        base, _, fragment = text.strip().partition("#")
        known = (digests or Digests()).merged(_fragment_digests(fragment))
        url, access = PackageURL.parse(base)
        stem, fmt = split_filename(url.filename)
        parse_stem(fmt.kind, stem)
        return cls(url, stem, fmt, known, access)

    @property
    def kind(self) -> Kind:
        """`conda` or `pypi`."""
        return self.url_format.kind

    @property
    def name(self) -> DistributionName:
        """Name, version and build."""
        return parse_stem(self.kind, self.stem)

    @property
    def subdir(self) -> str:
        """Conda platform directory, the last but one path component of the URL; empty for PyPI."""
        parts = self.url.path.rsplit("/", 2)
        return parts[-2] if self.kind == "conda" and len(parts) == 3 else ""

    @property
    def filename(self) -> str:
        """File name as published."""
        return self.stem + self.url_format

    def with_digests(self, digests: Digests) -> Package:
        """Return the package with additional digests.

        Raises:
            IntegrityError: The new digests contradict the known ones.
        """
        return replace(self, digests=self.digests.merged(digests))

    def __str__(self) -> str:
        return self.filename


def _fragment_digests(fragment: str) -> Digests:
    if not fragment:
        return Digests()
    algorithm, separator, text = fragment.partition("=")
    if not separator:
        return Digests(sha256=fragment) if len(fragment) == 64 else Digests(md5=fragment)
    if algorithm == "sha256":
        return Digests(sha256=text)
    if algorithm == "md5":
        return Digests(md5=text)
    raise UsageError(f"a URL fragment names the digest {algorithm!r}", expected="md5 or sha256")
