"""A resolved environment and its document, byte for byte as other readers of the cache expect it (contract, section 2).

A document does not contain its own identity: that comes from where it is stored. The order of packages is the order in
which conda packages are linked, so it is kept. `resolved_on` carries no time zone, because readers sort these texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import HEX_LENGTH, Digests, checked_hex
from asynccache.model.identity import EnvID, Request, full_id
from asynccache.model.package import KEY_ALGORITHM, Format, Kind, Package, parse_stem
from asynccache.model.platform import checked_architecture
from asynccache.model.url import PackageURL, redacted, split_address, without_credentials, without_parameters
from asynccache.node.json_text import read_json
from asynccache.node.user import user_name

if TYPE_CHECKING:
    from asynccache.model.environment_digest import EnvironmentDigest

ENVIRONMENT_TYPES: Final = ("conda-only", "pypi-only", "mixed")
_LEGACY: Final = {"pip": "pypi", "pip-only": "pypi-only"}
_KINDS: Final[Mapping[str, Kind]] = {"conda": "conda", "pypi": "pypi"}
_FAKE: Final = "_fake"
_KIND_OF: Final[Mapping[str, Kind]] = {fmt.value: fmt.kind for fmt in Format}
_AS_PUBLISHED: Final = (
    Format.CONDA,
    Format.TAR_BZ2,
    Format.WHEEL,
)  # a wheel built from source has the source's address
_EXTENSION: Final = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,3}")
_DIRECTORIES: Final = re.compile(r"(?!/)((?!\.{1,2}/)[^/\\]*/)+")  # of a key
_FLAG: Final = re.compile(r"(^|\s)-")


@dataclass(frozen=True, slots=True)
class EnvironmentPackage:
    """One package of an environment. Its texts are validated when it is created, wherever they come from.

    Attributes:
        kind: `conda` or `pypi`.
        filename: Archive name without extension; for a wheel built from source, the wheel's.
        url: Where the archive or its source is published; `.../_fake/...` if nothing can be downloaded from it.
        url_format: Format of what is at `url`.
        hashes: Format -> digest (md5 for conda, sha256 for PyPI); `md5` and `sha256` -> further digests of what is at
            `url`; other keys are kept as they are.
        cached: Format -> object key relative to the store's root.
        vouched: Format -> sha256 from the environment's digest; in no document.
    """

    kind: Kind
    filename: str
    url: str
    url_format: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    cached: Mapping[str, str] = field(default_factory=dict)
    vouched: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        parse_stem(self.kind, self.filename)
        address = split_address(self.url)
        last = unquote(without_parameters(address.scheme, address.path).rpartition("/")[2])
        if not _EXTENSION.fullmatch(self.url_format) or _KIND_OF.get(self.url_format, self.kind) != self.kind:
            raise UsageError(f"{self.filename} has no format of its kind", found=repr(self.url_format[:60]))
        if self.url_format in _AS_PUBLISHED and self.downloadable and last != self.filename + self.url_format:
            raise UsageError(
                "the address of a package is another one's", expected=self.filename + self.url_format, found=repr(last)
            )
        for name, digest in self.hashes.items():
            algorithm = KEY_ALGORITHM[self.kind] if name.startswith(".") else name
            if algorithm in HEX_LENGTH and digest:
                checked_hex(algorithm, digest)
        for fmt, key in self.cached.items():
            file = f"/{self.filename}{fmt}"
            directories, _, digest = key.removesuffix(file).rpartition("/")
            if not key.endswith(file) or not _DIRECTORIES.fullmatch(directories + "/"):
                raise UsageError(f"{key[:240]!r} is no key of {self.filename}", expected=".../DIGEST/FILE")
            checked_hex(KEY_ALGORITHM[self.kind], digest)

    @property
    def published_hash(self) -> str | None:
        """The digest that counts for the environment's identity, None if it is not recorded under its format."""
        return self.hashes.get(self.url_format)

    @property
    def vouched_derived(self) -> frozenset[str]:
        """The sha256 of derived archives in the environment's digest (see `engine/derived.py`)."""
        return frozenset(sha256 for fmt, sha256 in self.vouched.items() if fmt != self.url_format)

    @property
    def name(self) -> str:
        """Normalised name of what is installed: lower case, `-` for `_`."""
        return parse_stem(self.kind, self.filename).name.replace("_", "-").lower()

    @property
    def pinned(self) -> str:
        """Name, version and build for people: `numpy==1.26.4-py311h64a7726_0`."""
        stem = parse_stem(self.kind, self.filename)
        return f"{stem.name}=={stem.version}" + (f"-{stem.build}" if stem.build else "")

    @property
    def downloadable(self) -> bool:
        """Whether `url` leads to an archive."""
        return f"//{_FAKE}/" not in self.url

    def with_cached(self, fmt: str, key: str) -> EnvironmentPackage:
        """Return the package with the key of one of its formats; the digest is the key's last directory.

        Raises:
            IntegrityError: Another key or digest is already recorded for this format; other readers refuse a second
                one.
        """
        digest = key.split("/")[-2]
        for what, known, new in (("key", self.cached.get(fmt), key), ("digest", self.hashes.get(fmt), digest)):
            if known is not None and known != new:
                raise IntegrityError(f"{self.filename}{fmt} has a second {what}", expected=known, found=new)
        return replace(self, hashes={**self.hashes, fmt: digest}, cached={**self.cached, fmt: key})

    def to_package(self) -> Package:
        """Return what the engine caches.

        Raises:
            UsageError: Nothing can be downloaded for this package.
        """
        if self.url_format not in _KIND_OF:
            raise UsageError(f"{self.filename} has an unknown format", found=repr(self.url_format))
        if not self.downloadable:
            raise UsageError(f"{self.filename} was built locally from {redacted(self.url)}: it has no address to fetch")
        url, access = PackageURL.parse(self.url)
        return Package(url, self.filename, Format(self.url_format), self.digests_of(self.url_format), access)

    def digests_of(self, fmt: str) -> Digests:
        """Return the digests of an archive in the document and in the environment's digest.

        Raises:
            UsageError: A digest is malformed.
            IntegrityError: Two records contradict each other.
        """
        digest = self.hashes.get(fmt)
        digests = Digests.of(KEY_ALGORITHM[self.kind], digest) if digest else Digests()
        for algorithm in HEX_LENGTH if fmt == self.url_format else ():
            if also := self.hashes.get(algorithm):
                digests = digests.merged(Digests.of(algorithm, also))
        return digests.merged(Digests(sha256=self.vouched.get(fmt)))

    def as_document(self) -> dict[str, Any]:
        """Return the package object; the address without credentials."""
        document: dict[str, Any] = {
            "_type": self.kind,
            "filename": self.filename,
            "url": without_credentials(self.url, query=True),
            "url_format": self.url_format,
            "hashes": dict(self.hashes),
        }
        if self.cached:
            document["cache_info"] = {
                fmt: {"_type": self.kind, "url": key} for fmt, key in sorted(self.cached.items(), key=_conda_first)
            }
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> EnvironmentPackage:
        """Read a package object.

        Raises:
            UsageError: A required key is missing, has the wrong type, or an invalid value.
        """
        try:
            kind = _KINDS[_LEGACY.get(document["_type"], document["_type"])]
            return cls(
                kind=kind,
                filename=_text(document["filename"]),
                url=_text(document["url"]),
                url_format=_text(document["url_format"]),
                hashes={_text(k): _text(v) for k, v in document["hashes"].items()},
                cached={_text(k): _text(v["url"]) for k, v in (document.get("cache_info") or {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise UsageError(f"a package of the document is malformed ({type(exc).__name__}: {exc})") from exc


@dataclass(frozen=True, slots=True)
class ResolvedEnvironment:
    """What a request was resolved to, for one architecture.

    Attributes:
        id: Its identity; given, never recomputed from a stored document.
        request: The user-level requirements.
        packages: In installation order.
        resolved_on: Local time without zone; with one only if another writer wrote it.
        resolved_by: User name.
        resolved_archs: Architectures resolved together, ascending.
        environment_type: `conda-only`, `pypi-only` or `mixed`.
        accurate_source: False if it was resolved on top of another environment.
        unique_keys: Further keys of its identity (see `identity.full_id`).
        digest: What its digest stands for, if one was given; in no document.
    """

    id: EnvID
    request: Request
    packages: tuple[EnvironmentPackage, ...]
    resolved_on: datetime
    resolved_by: str
    resolved_archs: tuple[str, ...]
    environment_type: str = "mixed"
    accurate_source: bool = True
    unique_keys: Mapping[str, str] = field(default_factory=dict)
    digest: EnvironmentDigest | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.environment_type not in ENVIRONMENT_TYPES:
            raise UsageError(
                "an environment has an unknown type", expected=", ".join(ENVIRONMENT_TYPES), found=self.environment_type
            )

    def computed_full_id(self) -> str:
        """Return the id computed from the packages, for an environment just resolved for one architecture."""
        entries = [(p.filename, p.published_hash) for p in self.packages]
        return full_id(entries, self.id.arch, self.unique_keys)

    @property
    def local_time(self) -> datetime:
        """When it was resolved, without zone, so that all can be compared."""
        on = self.resolved_on
        return on if on.tzinfo is None else on.astimezone().replace(tzinfo=None)

    @property
    def shown_sources(self) -> dict[str, list[str]]:
        """Category -> channels and indexes of the request, without the credentials that other writers keep in them."""
        return {c: [without_credentials(value) for value in values] for c, values in self.request.sources.items()}

    def as_document(self) -> dict[str, Any]:
        """Return the document, keys in the order in which they are written."""
        request = self.request
        deps = [f"{c}::{v}" for c, values in request.deps.items() for v in values]
        return {
            "deps": sorted(deps, key=lambda tagged: tagged.partition("::")[2]),
            "sources": [f"{c}::{v}" for c, values in self.shown_sources.items() for v in values],
            "extras": [f"{c}::{v}" for c, values in request.extras.items() for v in values],
            "packages": [package.as_document() for package in self.packages],
            "resolved_on": self.resolved_on.isoformat(),
            "resolved_by": self.resolved_by,
            "resolved_archs": list(self.resolved_archs),
            "env_type": self.environment_type,
            "accurate_source": self.accurate_source,
            "full_id_unique_keys": dict(self.unique_keys),
        }

    def to_json(self) -> bytes:
        """Return the document as it is stored: ASCII, no newline at the end."""
        return json.dumps(self.as_document()).encode("ascii")

    @classmethod
    def from_document(cls, env_id: EnvID, document: object) -> ResolvedEnvironment:
        """Read a document, also one of an older writer (categories and types named `pip`, fields left out).

        Raises:
            UsageError: It is not such a document; the message says which part.
        """
        if not isinstance(document, dict):
            raise UsageError(f"the document of {env_id} is malformed", expected="a JSON object")
        missing = [
            k
            for k in ("deps", "sources", "packages", "resolved_on", "resolved_by", "resolved_archs")
            if k not in document
        ]
        if missing:
            raise UsageError(f"the document of {env_id} is malformed", expected=f"the key {missing[0]!r}", found="none")
        try:
            request = Request(
                _tagged("deps", document["deps"]),
                _tagged("sources", document["sources"]),
                _tagged("extras", document.get("extras") or []),
            )
            word = _text(document.get("env_type", "mixed"))
            return cls(
                id=env_id,
                request=request,
                packages=tuple(EnvironmentPackage.from_document(p) for p in document["packages"]),
                resolved_on=datetime.fromisoformat(_text(document["resolved_on"])),
                resolved_by=user_name() if document["resolved_by"] is None else _text(document["resolved_by"]),
                resolved_archs=tuple(checked_architecture(_text(a)) for a in document["resolved_archs"]),
                environment_type=_LEGACY.get(word, word),
                accurate_source=bool(document.get("accurate_source", True)),
                unique_keys={_text(k): _text(v) for k, v in (document.get("full_id_unique_keys") or {}).items()},
            )
        except (TypeError, ValueError, AttributeError, KeyError, UsageError) as exc:
            raise UsageError(f"the document of {env_id} is malformed ({exc})") from exc

    @classmethod
    def from_json(cls, env_id: EnvID, data: bytes) -> ResolvedEnvironment:
        """Read a stored document.

        Raises:
            IntegrityError: It is not JSON (for instance truncated), or not such a document.
        """
        try:
            return cls.from_document(env_id, read_json(data))
        except ValueError as exc:
            raise IntegrityError(
                f"the document of {env_id} is not JSON ({exc})", hint="it is truncated or damaged"
            ) from exc
        except UsageError as exc:
            raise IntegrityError(exc.message, expected=exc.expected, found=exc.found, hint=exc.hint) from exc


def _tagged(part: str, texts: object) -> dict[str, list[str]]:
    if not isinstance(texts, list):
        raise TypeError(f"{part} is not a list")
    result: dict[str, list[str]] = {}
    for text in texts:
        category, separator, value = _text(text).partition("::")
        category = _LEGACY.get(category, category)
        # a category that only a later writer knows is kept as it is
        if not separator or not category.isidentifier():
            raise ValueError(f"{part} holds {text!r}, which is not CATEGORY::VALUE")
        if part != "extras" and _FLAG.search(value):
            raise ValueError(f"{part} holds {text!r}, which a program would take for a flag")
        result.setdefault(category, []).append(value)
    return result


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if not value.isprintable():
        raise ValueError(f"{value[:80]!r} is not one line of printable text")
    return value


def _conda_first(item: tuple[str, str]) -> int:
    order = [".conda", ".whl", ".tar.bz2", ".tar.gz", ".zip"]
    return order.index(item[0]) if item[0] in order else len(order)
