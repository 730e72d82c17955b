"""Users' requests as values: requirements with their positions, sources, flags, Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.identity import CATEGORIES
from asynccache.model.url import redacted
from asynccache.resolve.requests.requirement_text import join_value, merge_constraints
from asynccache.resolve.requests.source_position import NOWHERE, SourcePosition, local_url
from asynccache.resolve.requests.url_credentials import expanded, split_credentials, take_logins

_USUAL_DOTS: Final = 2
# The virtual packages that a request can ask for (contract, section 1.2.1 e).
SYS_PACKAGES: Final = ("__cuda", "__glibc")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement.

    Attributes:
        name: May carry a channel (`channel::name`), extras (`name[a,b]`) or an address (`name@URL`).
        constraint: The constraint, as in a request after `==`; empty for any version.
        marker: Environment marker; empty for none.
        place: Its position.
        prefix: Whether conda takes the constraint for a version prefix (`name=1.2`).
    """

    name: str
    constraint: str = ""
    marker: str = ""
    place: SourcePosition = field(default=NOWHERE, compare=False)
    prefix: bool = field(default=False, compare=False)

    @property
    def value(self) -> str:
        """Its text in a request."""
        return join_value(self.name, self.constraint, self.marker)

    def check_exists(self) -> None:
        """Check that a local address exists. Blocking.

        Raises:
            UsageError: It does not.
        """
        address = self.name.partition("@")[2]
        if self.marker or not address.startswith(("/", "file:")):
            return
        path = Path(unquote(urlsplit(address).path))
        if not path.exists():
            raise self.place.error(
                f"{redacted(self.name)} is asked for, which is not on this machine",
                hint="`pip freeze` writes where conda's packages were built; write `name==VERSION` instead",
            )

    @property
    def text(self) -> str:
        """Constraint and marker, as in a map of names."""
        return f"{self.constraint};{self.marker}" if self.marker else self.constraint


@dataclass(frozen=True, slots=True)
class Requirements:
    """Everything that one or more files, or a step's decorators, ask for.

    Attributes:
        deps: Requirements by category: `conda`, `pypi`, `npconda`, `sys`. A name occurs once for each marker.
        sources: Channels (`conda`) and indexes (`pypi`) in the order they were written, without credentials.
        extras: Flags for the resolver of PyPI packages.
        python: Constraint of Python; None if there is none.
        auth: Credentials split off addresses, in the format of the setting `auth`. Never part of a request.
        notes: Notes for the user, one sentence each.
        written: Address -> the same as it was written, with its credentials. Never part of a request.
    """

    deps: Mapping[str, tuple[Requirement, ...]] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    python: str | None = None
    auth: Mapping[str, list[str]] = field(default_factory=dict, repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    written: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        deps: Mapping[str, Mapping[str, str]],
        *,
        sources: Mapping[str, Iterable[str]] | None = None,
        extras: Mapping[str, Iterable[str]] | None = None,
        python: str | None = None,
    ) -> Requirements:
        """Return requirements from maps of names to constraints; a constraint may end in `;MARKER`.

        Raises:
            UsageError: An unknown category, a source with two meanings, or text that is not ASCII.
        """
        parts = {"deps": deps, "sources": sources or {}, "extras": extras or {}}
        for part, categories in parts.items():
            for category in categories:
                if category not in CATEGORIES[part]:
                    raise UsageError(
                        f"{part} have an unknown category", expected=", ".join(CATEGORIES[part]), found=category
                    )
        asked: dict[str, tuple[Requirement, ...]] = {}
        for category, packages in deps.items():
            # blanks elsewhere are part of ids
            texts = [(name, *text.lstrip().partition(";")) for name, text in packages.items()]
            asked[category] = tuple(Requirement(name, c, marker) for name, c, _, marker in texts)
        known = {part: {c: tuple(texts) for c, texts in parts[part].items()} for part in ("sources", "extras")}
        return merge_requirements([cls(asked, known["sources"], known["extras"], python)])

    def values(self, category: str) -> list[str]:
        """Return the values of a category."""
        return [requirement.value for requirement in self.deps.get(category, ())]

    def packages(self, category: str) -> dict[str, str]:
        """Return a category as a map of names to constraints.

        Raises:
            UsageError: A name occurs with two markers, which a map cannot hold.
        """
        packages: dict[str, str] = {}
        for requirement in self.deps.get(category, ()):
            if requirement.name in packages:
                raise requirement.place.error(
                    f"{redacted(requirement.name)} is required with several markers, which a map cannot hold",
                    hint="write one line for it, or resolve the file itself",
                )
            packages[requirement.name] = requirement.text
        return packages

    @property
    def short(self) -> dict[str, str]:
        """The conda packages requested in an exact version, where conda would accept every version with that prefix."""
        # a version with three parts is seldom a prefix of others
        return {
            requirement.name: requirement.constraint
            for requirement in self.deps.get("conda", ())
            if requirement.prefix and requirement.constraint.count(".") < _USUAL_DOTS
        }

    def __bool__(self) -> bool:
        """Whether anything other than Python is requested."""
        return any(self.deps.values()) or any(self.sources.values()) or any(self.extras.values())


class Collector:
    """Collects requirements as a reader finds them. A later line for one name and marker replaces the earlier one."""

    def __init__(self) -> None:
        self._deps: dict[str, dict[tuple[str, str], Requirement]] = {}
        self._sources: dict[str, dict[str, None]] = {}
        self._extras: dict[str, list[str]] = {}
        self.auth: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self.written: dict[str, str] = {}
        self.python: str | None = None

    def require(self, category: str, requirement: Requirement) -> None:
        """Add a requirement; `*` means no constraint.

        Raises:
            UsageError: It is not ASCII, or its address holds a token, or credentials that contradict others.
        """
        name, _, url = requirement.name.partition("@")
        if url:
            if url.startswith("file:") and not url.startswith("file:/"):
                url = local_url(url, requirement.place)
            requirement = replace(requirement, name=f"{name}@{self.public(url, requirement.place)}")
        if not requirement.value.isascii():
            raise requirement.place.error(
                "a requirement is not ASCII, so that it cannot be identified", found=ascii(requirement.value[:80])
            )
        if "*" in requirement.constraint.split(","):
            requirement = replace(requirement, constraint=merge_constraints(requirement.constraint, ""))
        known = self._deps.setdefault(category, {})
        earlier = known.get((requirement.name, requirement.marker))
        if earlier is not None and earlier.constraint != requirement.constraint:
            self.notes.append(
                requirement.place.said(
                    f"{redacted(requirement.name)} is required twice: the last line counts"
                    f" ({requirement.constraint or 'any version'!r}, not {earlier.constraint or 'any version'!r})"
                )
            )
        known[requirement.name, requirement.marker] = requirement

    def source(self, category: str, address: str, place: SourcePosition = NOWHERE) -> None:
        """Add a channel or an index.

        Raises:
            UsageError: An index holds a token in its path, or credentials contradict others of the same host.
        """
        public = self.public(address, place, channel=category == "conda")
        self._sources.setdefault(category, {})[public] = None

    def flag(self, category: str, text: str, place: SourcePosition = NOWHERE) -> None:
        """Add a flag for a resolver.

        Raises:
            UsageError: As for a source.
        """
        option, blank, argument = text.partition(" ")
        # a repeated flag stays repeated: other readers identify the request by both
        self._extras.setdefault(category, []).append(f"{option}{blank}{self.public(argument, place)}")

    def public(self, address: str, place: SourcePosition = NOWHERE, *, channel: bool = False) -> str:
        """Split the credentials off an address of a channel or something else, and keep them separately.

        Raises:
            UsageError: As for a source, or a variable in it is not set.
        """
        with place.located():
            expanded(address)
            public, logins = split_credentials(address, channel=channel)
            self.authenticate(logins)
        if public != address:
            self.written[public] = address
        return public

    def authenticate(self, logins: Mapping[str, list[str]]) -> None:
        """Add credentials.

        Raises:
            UsageError: They contradict others.
        """
        if host := take_logins(self.auth, logins):
            raise UsageError(f"two addresses at {host} have different credentials", hint="use one pair for a host")

    def want_python(self, constraint: str, place: SourcePosition) -> None:
        """Set the constraint of Python; the last one counts."""
        if self.python not in {None, constraint}:
            self.notes.append(
                f"{place}: python is required twice: the last line counts ({constraint!r}, not {self.python!r})"
            )
        self.python = constraint

    def result(self) -> Requirements:
        """Return what was collected."""
        return Requirements(
            {category: tuple(found.values()) for category, found in self._deps.items() if found},
            {category: tuple(found) for category, found in self._sources.items() if found},
            {category: tuple(found) for category, found in self._extras.items() if found},
            self.python,
            self.auth,
            tuple(self.notes),
            self.written,
        )


def merge_requirements(parts: Iterable[Requirements]) -> Requirements:
    """Return the combined requirements of several files; if two name a package, the later one counts.

    Raises:
        UsageError: They ask for different Pythons, or hold different credentials for one host.
    """
    collector = Collector()
    for part in parts:
        for category, requirements in part.deps.items():
            for requirement in requirements:
                collector.require(category, requirement)
        for category, addresses in part.sources.items():
            for address in addresses:
                collector.source(category, address)
        for category, flags in part.extras.items():
            for flag in flags:
                collector.flag(category, flag)
        collector.authenticate(part.auth)
        collector.written |= part.written
        if part.python is not None:
            if collector.python not in {None, part.python}:
                raise UsageError(
                    "the files ask for different Pythons", expected=repr(collector.python), found=repr(part.python)
                )
            collector.python = part.python
        collector.notes.extend(part.notes)
    return collector.result()


def with_conda_equals(requirements: Requirements, meaning: str) -> Requirements:
    """Return requirements in which `name=1.2` of an environment.yml means what a setting says.

    A note is added if conda interprets it differently.

    Args:
        requirements: The requirements from files.
        meaning: Setting `conda_equals`: `exact`, or `fuzzy` for every 1.2.
    """
    conda = requirements.deps.get("conda", ())
    if meaning == "fuzzy":
        conda = tuple(replace(r, constraint=f"{r.constraint}.*", prefix=False) if r.prefix else r for r in conda)
        return replace(requirements, deps={**requirements.deps, "conda": conda} if conda else requirements.deps)
    short = [f"{name}={version}" for name, version in requirements.short.items()]
    if not short:
        return requirements
    note = (
        f"`=` is exactly this version here, where conda takes every one that begins so: {', '.join(short)}; write"
        f" {short[0]}.* for those, or set conda_equals to fuzzy"
    )
    return replace(requirements, notes=(*requirements.notes, note))
