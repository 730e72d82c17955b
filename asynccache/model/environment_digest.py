"""The digest of an environment: one sha256 over its ids and every byte that may be installed from it.

It is the sha256 of a text in ASCII, each line with a newline at its end:

    asynccache environment 1
    environment REQ_ID FULL_ID ARCH
    package FILENAME PUBLISHED_FORMAT FORMAT=SHA256 ...
    pack SHA256

Packages are in the order of installation, formats in that of their names. The last line is missing if no pack is
included. Environments that were resolved together also have a common digest, that of the text

    asynccache environments 1
    ARCH SHA256

with a line for each architecture, ascending.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, checked_hex
from asynccache.model.identity import EnvID
from asynccache.model.package import CONDA_FORMATS, Format
from asynccache.model.platform import checked_architecture

if TYPE_CHECKING:
    from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment

_ONE: Final = "asynccache environment 1"
_SEVERAL: Final = "asynccache environments 1"
_PACK: Final = "pack "
_MARK: Final = "@sha256:"
_TEXT: Final = re.compile(r"[0-9a-f]{64}")


def split_name(text: str) -> tuple[str, str]:
    """Split a user's text into a name and a digest of the environment, empty if none is given.

    Raises:
        UsageError: What follows `@sha256:` is not a digest.

    >>> split_name("team/env:v1")
    ('team/env:v1', '')
    """
    name, mark, digest = text.partition(_MARK)
    if mark and (not name or not _TEXT.fullmatch(digest)):
        raise UsageError(
            f"{text!r} names no digest of an environment",
            expected="NAME@sha256: and 64 hexadecimal digits",
            found=repr(digest),
        )
    return name, digest


@dataclass(frozen=True, slots=True)
class PackageDigests:
    """One package of a digest's text.

    Attributes:
        filename: File name without extension.
        published: Format of what is at its address.
        forms: Format -> sha256 of the published archive and of each derived one.
    """

    filename: str
    published: str
    forms: Mapping[str, str]

    @classmethod
    def of(cls, package: EnvironmentPackage, known: Mapping[str, str]) -> PackageDigests | None:
        """Return what is known about a package; None if that does not suffice to install it.

        Args:
            package: The package.
            known: Key in the store -> sha256, empty if it is not vouched for.
        """
        forms: dict[str, str] = {}
        for fmt in (f for f in Format if f.kind == package.kind):
            found = package.digests_of(fmt).sha256
            if found is None and fmt in package.cached:
                found = known.get(package.cached[fmt])
            if found:
                forms[fmt] = found
        needed = package.url_format if package.url_format in CONDA_FORMATS else Format.WHEEL
        return cls(package.filename, package.url_format, forms) if needed in forms else None

    @property
    def line(self) -> str:
        """Its line of the text."""
        return " ".join(
            ("package", self.filename, self.published, *(f"{f}={self.forms[f]}" for f in sorted(self.forms)))
        )


@dataclass(frozen=True, slots=True)
class EnvironmentDigest:
    """What a digest stands for.

    Attributes:
        id: The environment.
        packages: In the order of installation.
        pack: sha256 of the index of its pack; empty if none is meant.
    """

    id: EnvID
    packages: tuple[PackageDigests, ...]
    pack: str = ""

    @classmethod
    def of(
        cls, environment: ResolvedEnvironment, known: Mapping[str, str] | None = None, pack: str = ""
    ) -> EnvironmentDigest | None:
        """Return the digest of an environment; None if a package has no known digest.

        Args:
            environment: The environment, with the sha256 from its document and resolver.
            known: Key in the store -> vouched sha256; empty if it is not vouched for.
            pack: sha256 of the index of its pack.
        """
        packages: list[PackageDigests] = []
        for package in environment.packages:
            found = PackageDigests.of(package, known or {})
            if found is None:
                return None
            packages.append(found)
        return cls(environment.id, tuple(packages), pack)

    @property
    def text(self) -> bytes:
        """The text that is digested and stored."""
        lines = [_ONE, f"environment {' '.join(self.id.as_list())}", *(package.line for package in self.packages)]
        return "".join(f"{line}\n" for line in (*lines, *([_PACK + self.pack] if self.pack else []))).encode("ascii")

    @property
    def sha256(self) -> str:
        """The digest, 64 hexadecimal digits."""
        return hashlib.sha256(self.text).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> EnvironmentDigest:
        """Read a text.

        Raises:
            IntegrityError: It is not such a text.
        """
        try:
            lines = data.decode("ascii").splitlines()
            pack = checked_hex("sha256", lines.pop()[len(_PACK) :]) if lines and lines[-1].startswith(_PACK) else ""
            ids = lines[1].split(" ")[1:] if len(lines) > 1 else []
            found = cls(EnvID(*ids), tuple(_package(line) for line in lines[2:]), pack)
        except (ValueError, TypeError, UsageError) as exc:
            raise IntegrityError(f"what a digest of an environment stands for is malformed ({exc})") from exc
        if found.text != data:
            raise IntegrityError(
                "what a digest of an environment stands for is malformed (it is not in canonical form)"
            )
        return found

    def applied(self, environment: ResolvedEnvironment) -> ResolvedEnvironment:
        """Return an environment from which only what the digest stands for is installed.

        Raises:
            IntegrityError: Its document differs.
        """
        where = (
            f"the document of {environment.id} for {environment.id.arch} is not what sha256:{self.sha256} stands for"
        )
        if environment.id != self.id:
            raise IntegrityError(where, expected=str(self.id), found=str(environment.id))
        said = [(p.filename, p.url_format) for p in environment.packages]
        expected = [(p.filename, p.published) for p in self.packages]
        if said != expected:
            differing = next((pair for pair in zip(expected, said, strict=False) if pair[0] != pair[1]), None)
            raise IntegrityError(
                f"{where}: its packages are others",
                expected=f"{len(expected)} packages" if differing is None else "".join(differing[0]),
                found=f"{len(said)}" if differing is None else "".join(differing[1]),
            )
        packages = []
        for package, named in zip(environment.packages, self.packages, strict=True):
            for fmt, sha256 in named.forms.items():
                other = package.digests_of(fmt).mismatch(Digests(sha256=sha256))
                if other is not None:
                    raise IntegrityError(
                        f"{where}: {package.filename}{fmt} is another", expected=sha256, found=other[1]
                    )
            packages.append(replace(package, vouched=dict(named.forms)))
        return replace(environment, packages=tuple(packages), digest=self)


@dataclass(frozen=True, slots=True)
class DigestList:
    """The digests of environments that were resolved together.

    Attributes:
        by_arch: Architecture -> digest.
    """

    by_arch: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> bytes:
        """The text that is digested and stored."""
        lines = [_SEVERAL, *(f"{arch} {self.by_arch[arch]}" for arch in sorted(self.by_arch))]
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    @property
    def sha256(self) -> str:
        """The digest, 64 hexadecimal digits."""
        return hashlib.sha256(self.text).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> DigestList | None:
        """Read a text; None if it is that of one environment, or anything else.

        Raises:
            IntegrityError: It begins like one but is not.
        """
        if not data.startswith(_SEVERAL.encode()):
            return None
        try:
            lines = [line.split(" ") for line in data.decode("ascii").splitlines()[1:]]
            found = cls({checked_architecture(arch): checked_hex("sha256", digest) for arch, digest in lines})
        except (ValueError, UsageError) as exc:
            raise IntegrityError(f"what a digest of environments stands for is malformed ({exc})") from exc
        if found.text != data:
            raise IntegrityError("what a digest of environments stands for is malformed (it is not in canonical form)")
        return found


def common_digest(digests: Sequence[EnvironmentDigest]) -> str:
    """Return the common digest of environments that were resolved together; its own for a single one."""
    if len(digests) == 1:
        return digests[0].sha256
    return DigestList({digest.id.arch: digest.sha256 for digest in digests}).sha256


def _package(line: str) -> PackageDigests:
    word, filename, published, *forms = line.split(" ")
    if word != "package" or not forms:
        raise ValueError(f"{line[:80]!r} is no package")
    said = [form.split("=") for form in forms]
    return PackageDigests(filename, published, {Format(fmt): checked_hex("sha256", digest) for fmt, digest in said})
