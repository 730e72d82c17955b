"""What an extended environment has locked, and whether that satisfies additional requirements (contract, section
7.5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from asynccache.errors import UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.package import DistributionName, parse_stem
from asynccache.resolve.requests.requirement_text import ReadRequirement
from asynccache.resolve.requests.sources import channel_or_url


class BaseEnvironment:
    """The locked packages of an environment, by kind and name.

    Args:
        environment: The environment that is extended.
    """

    def __init__(self, environment: ResolvedEnvironment) -> None:
        self.environment = environment
        self._locked: dict[tuple[str, str], tuple[DistributionName, EnvironmentPackage]] = {}
        for package in environment.packages:
            name = parse_stem(package.kind, package.filename)
            key = str(canonicalize_name(name.name)) if package.kind == "pypi" else name.name.lower()
            self._locked[package.kind, key] = (name, package)

    @property
    def python(self) -> str:
        """The locked version of Python.

        Raises:
            UsageError: There is none.
        """
        found = self._locked.get(("conda", "python"))
        if found is None:
            raise UsageError(
                "Cannot determine Python version from the base environment",
                expected="a conda package `python` among its packages",
                found=f"{len(self.environment.packages)} packages without it",
            )
        return found[0].version

    def meets(self, requirement: ReadRequirement, category: str, known: Iterable[ReadRequirement] = ()) -> bool:
        """Whether the locked packages satisfy a requirement.

        Args:
            requirement: The requirement, with its marker evaluated.
            category: `conda`, `npconda` or `pypi`.
            known: The environment's requirements in this category, for extras and addresses, which packages do not
                show.

        Raises:
            UsageError: The constraint is malformed.
        """
        found = self._find(requirement, category)
        if found is None:
            return False
        if requirement.url is not None:
            return any(k.url == requirement.url and set(requirement.extras) <= set(k.extras) for k in known)
        if requirement.extras:
            asked = [k for k in known if canonicalize_name(k.name) == canonicalize_name(requirement.name)]
            if not any(set(requirement.extras) <= set(k.extras) for k in asked):
                return False
        return self.contradiction(requirement, category) is None

    def contradiction(self, requirement: ReadRequirement, category: str) -> str | None:
        """Return what is locked if that cannot satisfy a requirement; None if it can, or nothing is locked.

        Raises:
            UsageError: The constraint is malformed.
        """
        found = self._find(requirement, category)
        if found is None or requirement.url is not None:
            return None
        name, package = found
        if not _allows(requirement, name, category):
            return f"{name.name} {name.version}" + (f" {name.build}" if requirement.build else "")
        channel = _channel(package) if category != "pypi" else None
        if requirement.channel and channel and channel_or_url(requirement.channel) != channel:
            return f"{name.name} of channel {channel}"
        return None

    def _find(self, requirement: ReadRequirement, category: str) -> tuple[DistributionName, EnvironmentPackage] | None:
        if category == "pypi":
            return self._locked.get(("pypi", str(canonicalize_name(requirement.name))))
        return self._locked.get(("conda", requirement.name.lower()))


def same_virtual_packages(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether two categories `sys` are equal; a missing build is `0`."""
    return _normalised(first) == _normalised(second)


def _normalised(packages: Mapping[str, str]) -> dict[str, str]:
    return {name: text if "=" in text else f"{text}=0" for name, text in packages.items()}


def _channel(package: EnvironmentPackage) -> str | None:
    channel = channel_or_url(package.url)
    return channel if channel != package.url else None


def _allows(requirement: ReadRequirement, name: DistributionName, category: str) -> bool:
    if requirement.build is not None and not fnmatchcase(name.build, requirement.build):
        return False
    if not requirement.constraint:
        return True
    if category == "pypi":
        try:
            return SpecifierSet(requirement.constraint).contains(Version(name.version), prereleases=True)
        except (InvalidSpecifier, InvalidVersion):
            raise _malformed(requirement) from None
    return _conda_allows(requirement, name.version)


def _conda_allows(requirement: ReadRequirement, version: str) -> bool:
    # loads a binary library: only needed to extend an environment of conda packages
    from rattler import Version as CondaVersion  # noqa: PLC0415
    from rattler import VersionSpec  # noqa: PLC0415
    from rattler.exceptions import InvalidVersionError, InvalidVersionSpecError  # noqa: PLC0415

    try:
        return VersionSpec(requirement.conda_version).matches(CondaVersion(version))
    except (InvalidVersionError, InvalidVersionSpecError):
        raise _malformed(requirement) from None


def _malformed(requirement: ReadRequirement) -> UsageError:
    return UsageError(
        f"the constraint of {requirement.name} is malformed",
        expected="==1.2, >=1,<2, 1.2.* and the like",
        found=repr(requirement.constraint[:80]),
    )
