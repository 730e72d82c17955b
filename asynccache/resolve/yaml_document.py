"""YAML lock files as plain values with line numbers.

Every scalar is read as text: a digest of digits alone or a version `1.10` must not become a number. Tags, and with them
the construction of objects, are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from asynccache.model.digest import Digests
from asynccache.resolve.place import Place

_Loader: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the C one where libyaml is there
_LINE: Final = object()  # no key of a document equals it
_ABSENT: Final = {"", "~", "null", "Null", "NULL"}


class _LineLoader(_Loader):  # type: ignore[misc,valid-type]  # one of two classes with the same interface
    """Notes the line where each mapping starts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        mapping[_LINE] = node.start_mark.line + 1
        return mapping


class Entry:
    """A mapping of a document, which knows its place and checks what is read from it.

    Args:
        values: The mapping.
        place: The list it stands in.
    """

    def __init__(self, values: Mapping[Any, Any], place: Place) -> None:
        self._values = values
        self.place = place.at(values.get(_LINE))

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._values if key is not _LINE)

    def text(self, key: str) -> str | None:
        """Return a scalar, None when it is absent or null.

        Raises:
            UsageError: It is a list or a mapping.
        """
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and value in _ABSENT):
            return None
        if not isinstance(value, str):
            raise self.place.error(f"`{key}` is malformed", expected="a text", found=f"a {_kind(value)}")
        return value

    def required_text(self, key: str) -> str:
        """Return a scalar.

        Raises:
            UsageError: It is absent, a list or a mapping.
        """
        value = self.text(key)
        if value is None:
            raise self.place.error(f"an entry has no `{key}`", expected=f"`{key}: ...`")
        return value

    def number(self, key: str) -> int | None:
        """Return a whole number that is not negative, None when it is absent.

        Raises:
            UsageError: It is something else.
        """
        value = self.text(key)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            raise self.place.error(f"`{key}` is malformed", expected="a number of bytes", found=repr(value[:80]))
        return int(value)

    def entry(self, key: str) -> Entry | None:
        """Return a mapping, None when it is absent.

        Raises:
            UsageError: It is something else.
        """
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and value in _ABSENT):
            return None
        if not isinstance(value, dict):
            raise self.place.error(f"`{key}` is malformed", expected="a mapping", found=f"a {_kind(value)}")
        return Entry(value, self.place)

    def entries(self, key: str) -> list[Entry]:
        """Return the mappings of a list, none when it is absent.

        Raises:
            UsageError: It is no list of mappings.
        """
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and value in _ABSENT):
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.place.error(f"`{key}` is malformed", expected="a list of mappings", found=f"a {_kind(value)}")
        return [Entry(item, self.place) for item in value]

    def digests(self, *, size: bool = True) -> Digests:
        """Return what the keys `md5`, `sha256` and `size` say.

        Raises:
            UsageError: One of them is malformed.
        """
        md5, sha256 = self.text("md5"), self.text("sha256")
        known_size = self.number("size") if size else None
        with self.place.located():
            return Digests(md5=md5, sha256=sha256, size=known_size)


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "text"


def parse_yaml(text: str, place: Place) -> Entry:
    """Read a document whose top is a mapping.

    Raises:
        UsageError: Not YAML, or its top is something else.
    """
    try:
        document = yaml.load(text, Loader=_LineLoader)  # noqa: S506 - a base loader constructs text only
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark is not None else None
        raise place.at(line).error(f"not a YAML document ({exc.problem or exc.context})") from exc
    except (yaml.YAMLError, RecursionError, TypeError) as exc:
        raise place.error(f"not a YAML document ({type(exc).__name__})") from exc
    if not isinstance(document, dict):
        raise place.error("the document is malformed", expected="a mapping at its top", found=f"a {_kind(document)}")
    return Entry(document, place)
