"""Ids, requirements and kinds as programs know them from metaflow-netflixext (contract, sections 6.3 and 13).

Standard library, Python 3.7.
"""

from __future__ import annotations

from enum import Enum
from typing import Iterable, Mapping, NamedTuple, Sequence


class EnvType(str, Enum):
    """What an environment consists of; equal to the text in documents."""

    CONDA_ONLY = "conda-only"
    PYPI_ONLY = "pypi-only"
    PIP_ONLY = "pip-only"
    MIXED = "mixed"

    __str__ = Enum.__str__


class AliasType(Enum):
    """Kind of a name of an environment."""

    PATHSPEC = "pathspec"
    FULL_ID = "full-id"
    REQ_FULL_ID = "both-id"
    GENERIC = "generic"


class EnvID(NamedTuple):
    """Identity of an environment."""

    req_id: str
    full_id: str
    arch: str


class TStr(NamedTuple):
    """One requirement or source."""

    category: str
    value: str

    @classmethod
    def from_str(cls, value: str) -> TStr:
        """Read `CATEGORY::VALUE`."""
        return cls(*value.split("::", 1))

    def __str__(self) -> str:
        return f"{self.category}::{self.value}"

    def __repr__(self) -> str:
        return str(self)


def dict_to_tstr(values: Mapping[str, Sequence[str]]) -> list[TStr]:
    """Return category -> values as one list."""
    return [TStr(category, value) for category, several in values.items() for value in several]


def tstr_to_dict(values: Iterable[TStr]) -> dict[str, list[str]]:
    """Return one list as category -> values."""
    result: dict[str, list[str]] = {}
    for each in values:
        result.setdefault(each.category, []).append(each.value)
    return result
