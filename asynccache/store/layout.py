"""Keys: which object holds what, so that a cache is shared with every reader and writer of the Conda-v2 layout.

    PACKAGES/KIND/[_fake/]HOST/PATH/FILE/HASH/FILE      an archive (contract, section 3.1)
    asynccache/receipts/KIND/.../FILE.json              how a derived archive was made
    asynccache/quarantine/TIME/KEY                      a damaged object, out of every reader's way

The part up to PATH is the *source directory*: everything that was ever made from one URL is below it. Other readers
abort on foreign objects there, so side-car objects live under a top-level name of our own (contract, section 3.4).
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import HEX_LENGTH, checked_hex
from asynccache.model.package import KEY_ALGORITHM, Format, Kind, Package, checked_stem, split_filename
from asynccache.model.url import PackageURL, redacted, split_address, without_parameters

DIRNAME: Final = "packages"  # contract, section 2.4: CONDA_PACKAGES_DIRNAME
FAKE: Final = "_fake"  # replaces the host of an address that nothing can be downloaded from
OWN: Final = "asynccache"
_KINDS: Final[dict[str, Kind]] = {"conda": "conda", "pypi": "pypi", "pip": "pypi"}  # `pip` in very old caches


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """The part of a URL that is kept in a key.

    Attributes:
        kind: `conda` or `pypi`.
        host: Lower-case host and port, IPv6 without brackets; empty if the URL has none.
        path: Percent-encoded as written, without leading slashes and parameters.
        fake: Nothing can be downloaded from the address: a repository, a local directory or file.
    """

    kind: Kind
    host: str
    path: str
    fake: bool = False

    @classmethod
    def of(cls, url: PackageURL, kind: Kind) -> SourceAddress:
        """Return the address of a package URL; the host `_fake` makes it a fake one."""
        return cls._made(kind, url.scheme, url.host, url.port, url.path, fake=False)

    @classmethod
    def parse(cls, text: str, kind: Kind, *, real: bool = True) -> SourceAddress:
        """Read an address in the format of environment documents (contract, section 2.2.2).

        Args:
            text: A URL of any scheme or none. User information, query and fragment are dropped.
            kind: `conda` or `pypi`.
            real: False if nothing can be downloaded from it, whether or not its host is `_fake` already.

        Raises:
            UsageError: No key can be made from it.
        """
        parts = split_address(text)
        return cls._made(kind, parts.scheme, (parts.hostname or "").lower(), parts.port, parts.path, fake=not real)

    @classmethod
    def _made(cls, kind: Kind, scheme: str, host: str, port: int | None, path: str, *, fake: bool) -> SourceAddress:
        place = host if port is None else f"{host}:{port}"
        kept = without_parameters(scheme, path).lstrip("/")
        if place == FAKE:
            place, fake = "", True
        if not kept or any(unquote(part) in {".", ".."} for part in kept.split("/")):
            raise UsageError(
                f"{redacted(place + path)!r} cannot be part of a key", expected="a path without '.' and '..' segments"
            )
        return cls(kind, place, kept, fake)

    def directory(self, dirname: str = DIRNAME) -> str:
        """Return the source directory, without a slash at its end."""
        return "/".join(part for part in (dirname, self.kind, FAKE if self.fake else "", self.host, self.path) if part)


def source_directory(url: PackageURL, kind: Kind, dirname: str = DIRNAME) -> str:
    """Return the directory of everything that was made from a URL, without a slash at its end.

    >>> source_directory(PackageURL.parse("https://Host:1/ch/noarch/a-1-0.conda")[0], "conda")
    'packages/conda/host:1/ch/noarch/a-1-0.conda'
    """
    return SourceAddress.of(url, kind).directory(dirname)


def archive_key(address: SourceAddress, filename: str, digest: str, dirname: str = DIRNAME) -> str:
    """Return the key of any archive.

    Args:
        address: Address at which it, or what it was made from, is published.
        filename: Its file name, percent-decoded, with extension.
        digest: md5 of its bytes for conda, sha256 for PyPI.
        dirname: Directory of the packages.

    Raises:
        UsageError: The name or the digest cannot be part of a key.
    """
    checked_stem(split_filename(filename)[0])
    checked = checked_hex(KEY_ALGORITHM[address.kind], digest)
    return f"{address.directory(dirname)}/{filename}/{checked}/{filename}"


def key_of(kind: Kind, address: str, filename: str, digest: str, *, real: bool = True, dirname: str = DIRNAME) -> str:
    """Return the key of an archive whose address is a text (see `SourceAddress.parse` and `archive_key`).

    Raises:
        UsageError: No key can be made from it.
    """
    return archive_key(SourceAddress.parse(address, kind, real=real), filename, digest, dirname)


def key_for(package: Package, fmt: Format, digest: str, dirname: str = DIRNAME) -> str:
    """Return the key of a package in one of its formats.

    Args:
        package: The package as published: the URL stays in the key whatever format is stored.
        fmt: The format.
        digest: md5 of that format's bytes for conda, sha256 for PyPI.
        dirname: Directory of the packages.

    Raises:
        UsageError: The digest is malformed.
    """
    return archive_key(SourceAddress.of(package.url, package.kind), package.stem + fmt, digest, dirname)


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What the key of an archive says.

    Attributes:
        kind: `conda` or `pypi`.
        source_directory: The key up to the file-name directory, without a slash at its end.
        host: Host and port that the source was published on; `_fake` for a fake address.
        path: Path of the source URL, percent-encoded, without a leading slash.
        stem: File name without extension.
        format: Format of the archive.
        hash: md5 (conda) or sha256 (PyPI) of its bytes, as the key says.
    """

    kind: Kind
    source_directory: str
    host: str
    path: str
    stem: str
    format: Format
    hash: str

    @property
    def filename(self) -> str:
        """The archive's file name."""
        return self.stem + self.format

    @property
    def published(self) -> bool:
        """Whether this is the file that the source URL names."""
        return self.host != FAKE and unquote(self.path.rsplit("/", 1)[-1]) == self.filename

    @property
    def transmuted(self) -> bool:
        """Whether this is a conda package in another format than the published one."""
        return self.kind == "conda" and self.path.endswith(self.format.other)

    @property
    def source_url(self) -> str:
        """The source URL. A key does not keep the scheme: `https` stands for it (contract, section 4.2)."""
        return f"https://{_authority(self.host)}/{self.path}"


def parse_key(key: str, dirname: str = DIRNAME) -> KeyParts | None:
    """Read the key of an archive; None if it is not one."""
    prefix = dirname + "/"
    if not key.startswith(prefix):
        return None
    kind_name, *between = key[len(prefix) :].split("/")
    # at least: host, path, file name, hash, file name
    if kind_name not in _KINDS or len(between) < 5:
        return None
    *source, filename, digest, again = between
    kind = _KINDS[kind_name]
    algorithm = KEY_ALGORITHM[kind]
    if filename != again or not source[0] or len(digest) != HEX_LENGTH[algorithm]:
        return None
    try:
        stem, fmt = split_filename(filename)
        checked_stem(stem)
        checked_hex(algorithm, digest)
    except UsageError:
        return None
    if fmt.kind != kind:
        return None
    directory = "/".join([dirname, kind_name, *source])
    return KeyParts(kind, directory, source[0], "/".join(source[1:]), stem, fmt, digest)


def _authority(host: str) -> str:
    """Return the host and port of a key as in addresses; a key does not say where an IPv6 address ends."""
    if host.count(":") < 2:
        return host
    try:
        return f"[{ip_address(host)}]"
    except ValueError:
        address, _, port = host.rpartition(":")
        return f"[{address}]:{port}"


def receipt_key(key: str, dirname: str = DIRNAME) -> str:
    """Return the key of the receipt of a derived archive.

    >>> receipt_key("packages/conda/h/ch/noarch/a-1-0.tar.bz2/a-1-0.conda/0f/a-1-0.conda")
    'asynccache/receipts/conda/h/ch/noarch/a-1-0.tar.bz2/a-1-0.conda/0f/a-1-0.conda.json'
    """
    return f"{OWN}/receipts/{key.removeprefix(dirname + '/')}.json"


def quarantine_key(key: str, moment: datetime) -> str:
    """Return the key under which a damaged object is quarantined; it contains the original key.

    Args:
        key: The object's key.
        moment: When the damage was found, with a time zone; microseconds distinguish two findings.
    """
    return f"{OWN}/quarantine/{moment.astimezone(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}/{key}"


def kind_of(url: PackageURL) -> Kind:
    """Return the ecosystem of a package URL by its file name: PyPI unless it is a conda package."""
    try:
        return split_filename(url.filename)[1].kind
    except UsageError:
        return "pypi"
