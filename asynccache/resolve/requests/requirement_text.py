"""One requirement as text: composed, parsed, compared and merged (contract, sections 1.2 and 10.1).

A value is `NAME`, `NAME==CONSTRAINT` or `NAME@URL`, and may end in `;MARKER`. The name may carry a channel
(`channel::name`) or extras (`name[a,b]`). The constraint follows `==` even when it starts with an operator of its own:
`pandas==>=1.0,<2` says "pandas >=1.0,<2".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.url import redacted

_URL_VALUE: Final = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?)@(?P<url>[^;]+)")
_END_OF_NAME: Final = re.compile(r"==|;")
_DOUBLED: Final = re.compile(r"==\s*(?=[<>!~=])")
_MERGED: Final = re.compile(r"(^|,)\s*==\s*(?=[<>!~])")  # what a merge turns a blank after a comma into
_OPERATORS: Final = "~<>!="
_RANGES: Final = "~<>!"
_PLAIN_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_CLAUSE: Final = re.compile(r"(?P<operator>===?|[<>!~]=|[<>=])?(?P<version>.*)", re.DOTALL)
# After a version: a build. Operators are made of `=` too.
_BUILD: Final = re.compile(r"(?<=[^\s<>!~=,|])\s*=(?!=)(.*)", re.DOTALL)
_HYPHEN: Final = re.compile(r"(?<=.)-([^-]*)$")
_FLAG: Final = re.compile(r"(^|\s)-")  # where a program would read an operator
_NAME: Final = re.compile(r"(?:(?P<channel>.+)::)?(?P<name>[^\[\]:@]+)(?:\[(?P<extras>[^\]]*)\])?")


def split_value(value: str) -> tuple[str, str, str]:
    """Split a value into name, constraint and marker; missing parts are empty.

    >>> split_value('pandas[all]==>=1,<2;python_version < "3.9"')
    ('pandas[all]', '>=1,<2', 'python_version < "3.9"')
    >>> split_value("clip@git+https://host/clip.git#a==b")
    ('clip@git+https://host/clip.git#a==b', '', '')
    """
    if address := _URL_VALUE.match(value):
        return address.group().rstrip(), "", value[address.end() + 1 :].strip()
    end = _END_OF_NAME.search(value)
    if end is None:
        return value.strip(), "", ""
    name = value[: end.start()].strip()
    if end.group() == ";":
        return name, "", value[end.end() :].strip()
    constraint, _, marker = value[end.end() :].partition(";")
    return name, constraint.strip(), marker.strip()


def join_value(name: str, constraint: str = "", marker: str = "") -> str:
    """Compose a value.

    >>> join_value("pandas", ">=1"), join_value("six", marker='os_name == "posix"')
    ('pandas==>=1', 'six;os_name == "posix"')
    """
    text = f"{name}=={constraint}" if constraint else name
    return f"{text};{marker}" if marker else text


def packages_of(values: Iterable[str]) -> dict[str, str]:
    """Return values as a map; `*` means no constraint.

    >>> packages_of(["a==1", "b", "c==*", "d==>=2,<3"])
    {'a': '1', 'b': '', 'c': '', 'd': '>=2,<3'}
    """
    packages = {}
    for value in values:
        name, constraint, marker = split_value(value)
        text = "" if constraint == "*" else constraint
        packages[name] = f"{text};{marker}" if marker else text
    return packages


def undoubled(value: str) -> str:
    """Return a value without the `==` that precedes an operator, and without a constraint that allows everything.

    >>> undoubled("pandas==>=1.0"), undoubled("six==1.16"), undoubled("x==*"), undoubled("y====1"), undoubled("z==*=b*")
    ('pandas>=1.0', 'six==1.16', 'x', 'y==1', 'z=*=b*')
    >>> undoubled("a==>1,== <2")
    'a>1,<2'
    """
    name, constraint, marker = split_value(value)
    if constraint in {"", "*"}:
        return join_value(name, marker=marker)
    if constraint.startswith("*="):
        return f"{name}={constraint};{marker}".rstrip(";")
    text = name + _MERGED.sub(",", _DOUBLED.sub("", "==" + constraint, count=1))
    return f"{text};{marker}" if marker else text


def merge_constraints(first: str | None, second: str | None) -> str:
    """Merge two constraints of one name as the contract does (section 1.2.1 d), including blanks, which enter ids.

    >>> merge_constraints(">1, <2", "")
    '>1,== <2'
    >>> merge_constraints("1.4.0", ">=0.24.0"), merge_constraints(">=0.24.0", "1.4.0"), merge_constraints("==1", "1")
    ('1.4.0,>=0.24.0', '>=0.24.0,==1.4.0', '==1')
    """
    parts, more = ([p for p in (text or "").split(",") if p not in {"", "*"}] for text in (first, second))
    known = {part.lstrip("=") for part in parts}
    parts += [part for part in more if part.lstrip("=") not in known]
    return ",".join(part if number == 0 or part[0] in _OPERATORS else f"=={part}" for number, part in enumerate(parts))


def _parts(constraint: str | None) -> list[str]:
    return [part.strip() for part in (constraint or "").split(",") if part.strip() not in {"", "*"}]


def canonical_version(text: str) -> str:
    """Return a version as decorators write it: without trailing zeros when the text is one version, else unchanged.

    >>> canonical_version("1.4.0"), canonical_version("1.0rc1"), canonical_version(">=1.4.0"), canonical_version("1.*")
    ('1.4', '1rc1', '>=1.4.0', '1.*')
    """
    if _PLAIN_VERSION.fullmatch(text):
        return re.sub(r"(\.0)+$", "", ".".join(str(int(part)) for part in text.split(".")))
    from packaging.utils import canonicalize_version  # noqa: PLC0415 - most versions are numbers
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    try:
        return canonicalize_version(Version(text))
    except InvalidVersion:
        return text


@dataclass(frozen=True, slots=True)
class ReadRequirement:
    """A parsed value, for solving and comparing.

    Attributes:
        name: Without channel and extras.
        channel: Channel that a conda package must come from, None for any.
        extras: Extras of a PyPI package, sorted.
        url: Address of a PyPI package; None if it comes from an index.
        constraint: Clauses with their operators (`==1.0`, `>=1,<2`), without a build; empty for any version.
        build: Build string of a conda package, None for any.
        marker: Environment marker, empty for none.
    """

    name: str
    channel: str | None = None
    extras: tuple[str, ...] = ()
    url: str | None = None
    constraint: str = ""
    build: str | None = None
    marker: str = ""

    @property
    def conda_spec(self) -> str:
        """Specification in conda's notation, without marker.

        >>> read_requirement("conda-forge::numpy==1.26.4").conda_spec, read_requirement("a==>=1,<2").conda_spec
        ('conda-forge::numpy ==1.26.4', 'a >=1,<2')
        """
        name = f"{self.channel}::{self.name}" if self.channel else self.name
        version = self.conda_version or ("" if self.build is None else "*")
        return " ".join(part for part in (name, version, self.build) if part)

    @property
    def conda_version(self) -> str:
        """Constraint in conda's notation.

        >>> read_requirement("a==1.2.*").conda_version, read_requirement("a==1.25|2.0.*").conda_version
        ('1.2.*', '==1.25|2.0.*')
        """
        # `==1.2.*` is an exact version to some programs: the star alone means the same to all of them
        return re.sub(r"(^|[,|])==(?=[^,|]*\*)", r"\1", self.constraint)

    @property
    def pypi_spec(self) -> str:
        """Specification by PEP 508, without marker.

        >>> read_requirement("six[b,a]==1.16", "pypi").pypi_spec
        'six[a,b]==1.16'
        """
        name = f"{self.name}[{','.join(self.extras)}]" if self.extras else self.name
        return f"{name} @ {self.url}" if self.url else f"{name}{self.constraint}"


def read_requirement(value: str, category: str = "conda") -> ReadRequirement:
    """Parse a value for solving and comparing.

    Args:
        value: The value, as in a request.
        category: `conda`, `npconda` or `sys` may have a build (`1.0=py38_0`, `1.0-py38_0`), `pypi` has none.

    Raises:
        UsageError: The name is invalid.

    >>> read_requirement("scikit-learn").name, read_requirement("b==1").constraint
    ('scikit-learn', '==1')
    """
    key, constraint, marker = split_value(value)
    url = None
    if address := _URL_VALUE.fullmatch(key):
        key, url = address["name"], address["url"]
    match = _NAME.fullmatch(key)
    if match is None or _FLAG.search(value.partition(";")[0]) or not value.isprintable():
        raise UsageError("a requirement names no package", found=repr(redacted(value[:120])))
    extras = tuple(sorted({extra.strip() for extra in (match["extras"] or "").split(",")} - {""}))
    clauses, build = [], None
    for part in _parts(constraint):
        text = part
        if category != "pypi":
            text, found = _without_build(part)
            build = found or build
        alternatives = [_clause(alternative, category) for alternative in text.split("|")]
        if "*" not in alternatives:
            clauses.append("|".join(alternatives))
    return ReadRequirement(match["name"].strip(), match["channel"], extras, url, ",".join(clauses), build, marker)


def _clause(text: str, category: str) -> str:
    """Return one comparison with its operator; `*` for none."""
    match = _CLAUSE.fullmatch(_MERGED.sub("", text.strip()))
    operator, version = (match["operator"] or "==", match["version"].strip()) if match else ("==", text)
    if category != "pypi" and operator in {"=", "==="}:
        operator = "=="
    return "*" if version == "*" else operator + version


def _without_build(part: str) -> tuple[str, str | None]:
    """Split the build off a clause: what follows `=`, or the last `-` of a version, which no conda version contains."""
    separated = _BUILD.search(part)
    if separated is None and part[0] not in _RANGES:
        separated = _HYPHEN.search(part)
    if separated is None:
        return part, None
    return part[: separated.start()].strip(), separated[1].strip() or None
