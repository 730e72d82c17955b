"""What every resolver of PyPI packages needs to know about a problem, parsed once and in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote, urlsplit

from packaging.utils import canonicalize_name

from asynccache.config import Settings
from asynccache.engine.credentials import HostCredentials
from asynccache.errors import UsageError
from asynccache.model.credentials import Credentials
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format, parse_stem
from asynccache.model.platform import current_architecture
from asynccache.model.url import Access, PackageURL, redacted
from asynccache.resolve.explain import secrets_of
from asynccache.resolve.requests.markers import without_markers
from asynccache.resolve.requests.requirement_text import ReadRequirement, read_requirement, split_value
from asynccache.resolve.requests.sources import PYPI
from asynccache.resolve.requests.url_credentials import expanded, values_in
from asynccache.resolve.resolver import Problem

ACROSS: Final = "Cannot resolve environment across architectures as it depends on local files or non-wheel packages"
# Flag -> whether it has a value. The last two come from what pip reads in files: `-c FILE`, and digests of a line.
_FLAGS: Final = {
    "--pre": False,
    "--no-index": False,
    "--find-links": True,
    "--trusted-host": True,
    "--constraint": True,
    "--hash": True,
}
_GLIBC: Final = re.compile(r"[<>=!~]*2\.(\d+)")
_REPOSITORY: Final = re.compile(r"(git|hg|svn|bzr)\+")


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags of a request, as pip calls them.

    Attributes:
        prereleases: `--pre`.
        no_index: `--no-index`.
        find_links: `--find-links` and `-f`: addresses or paths.
        trusted_hosts: `--trusted-host`.
        constraints: `--constraint`: `name<2; MARKER`, which applies if the package is installed.
        hashes: `--hash`: normalised name -> sha256 of the allowed files.
    """

    prereleases: bool = False
    no_index: bool = False
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def bounds(self) -> list[ReadRequirement]:
        """The parsed constraints that hold on every machine."""
        found = [re.fullmatch(r"([\w.-]+)([^;]*)", text) for text in self.constraints]
        return [ReadRequirement(match[1], constraint=match[2]) for match in found if match]

    @classmethod
    def read(cls, texts: Iterable[str]) -> Flags:
        """Read the extras of a request.

        Raises:
            UsageError: It is an unknown flag.
        """
        found: dict[str, list[str]] = {}
        for text in texts:
            flag, value, *_ = [*re.split(r"[ =]", text.strip(), maxsplit=1), ""]
            flag = "--find-links" if flag == "-f" else flag
            if flag and (flag not in _FLAGS or (_FLAGS[flag] and not value.strip())):
                raise UsageError(
                    "a flag for resolving PyPI packages is not supported",
                    expected="--pre, --no-index, --find-links X or --trusted-host X",
                    found=repr(flag),
                )
            found.setdefault(flag, []).append(value.strip())
        links, hosts = (tuple(dict.fromkeys(found.get(flag, ()))) for flag in ("--find-links", "--trusted-host"))
        hashes: dict[str, frozenset[str]] = {}
        for name, _, digests in (value.partition(" ") for value in found.get("--hash", ())):
            hashes[name] = hashes.get(name, frozenset()) | set(digests.split(","))
        return cls(
            "--pre" in found,
            "--no-index" in found,
            links,
            tuple(map(expanded, hosts)),
            tuple(dict.fromkeys(found.get("--constraint", ()))),
            hashes,
        )


@dataclass(frozen=True, slots=True)
class PypiProblem:
    """The PyPI part of a problem, without markers.

    Attributes:
        arch: conda platform.
        requirements: Parsed requirements, without Python.
        indexes: Addresses, best first, without credentials.
        flags: Flags of the request.
        glibc: Minor version of the requested glibc 2; None if none is requested.
        base: PyPI packages that must be kept.
    """

    arch: str
    requirements: tuple[ReadRequirement, ...]
    indexes: tuple[str, ...]
    flags: Flags
    glibc: int | None
    base: tuple[EnvironmentPackage, ...]

    @property
    def across(self) -> bool:
        """Whether it is for another architecture than this machine's, for which nothing can be built."""
        return self.arch != current_architecture()

    @property
    def addresses(self) -> list[str]:
        """Indexes and links, then the addresses in requirements."""
        urls = [requirement.url for requirement in self.requirements if requirement.url]
        return [*self.indexes, *self.flags.find_links, *urls]

    def lines(self, logins: Logins) -> list[str]:
        """Return the requirements as text for programs, with credentials in their addresses."""
        return [
            r.pypi_spec.replace(f"@ {r.url}", f"@ {logins.address(r.url)}") if r.url else r.pypi_spec
            for r in self.requirements
        ]


def read_pypi_problem(problem: Problem, settings: Settings) -> PypiProblem:
    """Read the PyPI part of a problem.

    Raises:
        UsageError: A marker, requirement or flag is invalid, or something cannot be obtained for another architecture.
    """
    request = problem.request
    deps = without_markers(request, problem.arch, settings).deps
    values = [read_requirement(value, "pypi") for value in deps.get("pypi", ())]
    requirements = tuple(_with_address(requirement) for requirement in values if requirement.name != "python")
    indexes = tuple(dict.fromkeys(source for source in request.sources.get("pypi", ()) if source)) or (PYPI,)
    base = tuple(package for package in (problem.base.packages if problem.base else ()) if package.kind == "pypi")
    flags = Flags.read((*request.extras.get("pypi", ()), *problem.pip_flags))
    read = PypiProblem(
        problem.arch,
        requirements,
        indexes,
        flags,
        _glibc(request.deps.get("sys", ())),
        base,
    )
    if read.across and (local := [r.name for r in requirements if is_source_address(r.url)]):
        raise UsageError(ACROSS, found=", ".join(local), hint=f"resolve for {current_architecture()} only")
    return read


def read_mixed_problem(problem: Problem, settings: Settings) -> PypiProblem:
    """Read the PyPI part of a mixed environment, which cannot include builds.

    Raises:
        UsageError: As `read_pypi_problem`, or a requirement or a package of the base is a repository or local.
    """
    local = [
        redacted(value)
        for value in problem.request.deps.get("pypi", ())
        if (url := read_requirement(value, "pypi").url) and (is_source_address(url) or url.startswith("/"))
    ]
    local += [
        package.filename
        for package in (problem.base.packages if problem.base else ())
        if package.kind == "pypi" and (not package.downloadable or package.url_format != Format.WHEEL)
    ]
    if local:
        raise UsageError(
            "Local PYPI packages are not supported in MIXED mode",
            found=", ".join(local),
            hint="build and publish them, or ask for PyPI packages only",
        )
    return read_pypi_problem(problem, settings)


def is_source_address(url: str | None) -> bool:
    """Whether an address is that of a repository or a local one.

    >>> is_source_address("git+https://host/a.git"), is_source_address("https://host/a-1-py3-none-any.whl")
    (True, False)
    """
    return url is not None and (bool(_REPOSITORY.match(url)) or url.startswith("file:"))


def _with_address(requirement: ReadRequirement) -> ReadRequirement:
    """Return a requirement whose address is in PEP 508 notation: a URL, a revision after `@`."""
    url = requirement.url
    if url is None:
        return requirement
    url = url.strip()
    if url.startswith("/"):
        url = "file://" + quote(str(PurePosixPath(url)))
    if _REPOSITORY.match(url):
        address, _, fragment = url.partition("#")
        # `...git#v1` names a revision; `...#subdirectory=x` does not
        if fragment and "=" not in fragment:
            url = f"{address}@{fragment}"
    return replace(requirement, url=url)


def _glibc(sys: Sequence[str]) -> int | None:
    for name, text, _ in map(split_value, sys):
        if name == "__glibc" and (match := _GLIBC.match(text)):
            return int(match[1])
    return None


class Logins:
    """Puts credentials into addresses, for the environment and private files of a program only.

    Args:
        auth: Setting `auth`.
    """

    def __init__(self, auth: Mapping[str, list[str]]) -> None:
        self._credentials = HostCredentials(auth)
        self._given = secrets_of(auth)

    def login(self, url: str) -> Credentials | None:
        """Return the known credentials for an address's host."""
        host = _host(url)
        return None if host is None else self._credentials.for_url(*host)

    def ask_keyring(self, addresses: Iterable[str]) -> bool:
        """Ask the keyring about hosts without a known password, after one of them could not be read. Blocking.

        uv and pip ask it only for the password of a given user, and not the one of a helper environment.

        Returns:
            Whether it knew any.
        """
        logins = [(host, self.login(url)) for url in addresses if (host := _host(url)) is not None]
        unknown = [(host, login) for host, login in logins if login is None or not login.password]
        known = [self._credentials.ask_keyring(*host, login) for host, login in unknown]
        return any(known)

    def address(self, url: str) -> str:
        """Return an address with the known credentials for its host and itself; unchanged if there are none."""
        url = expanded(self._credentials.with_secret(url))
        found = self.login(url)
        if found is None:
            return url
        rest = _without_tool(url)
        parts = urlsplit(rest)
        login = f"{quote(found.username, safe='')}:{quote(found.password, safe='')}@"
        address = parts._replace(netloc=login + parts.netloc.rpartition("@")[2]).geturl()
        return url.removesuffix(rest) + address

    def secrets(self, addresses: Iterable[str]) -> list[str]:
        """Return the secrets that must not be shown in a program's messages about addresses."""
        addresses = list(addresses)
        values = [value for url in addresses for value in values_in(url)]
        passwords = [login.password for login in map(self.login, addresses) if login is not None]
        quoted = [form for password in passwords if password for form in {password, quote(password, safe="")}]
        return [*self._given, *quoted, *values]


def _host(url: str) -> tuple[PackageURL, Access] | None:
    parts = urlsplit(_without_tool(expanded(url)))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    host = PackageURL(parts.scheme, parts.hostname.lower(), parts.port, parts.path or "/")
    return host, Access(parts.username, parts.password)


def _without_tool(url: str) -> str:
    return url.partition("+")[2] if _REPOSITORY.match(url) else url


def normal_name(package: EnvironmentPackage) -> str:
    """Return the normalised name of a PyPI package."""
    return canonicalize_name(parse_stem("pypi", package.filename).name)
