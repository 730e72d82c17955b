"""YAML lock files as plain values with line numbers.

Every scalar is read as text: a digest of digits alone or a version `1.10` must not become a number. Tags, and with them
the construction of objects, are ignored; a key that occurs twice is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import yaml

from asynccache.model.digest import Digests
from asynccache.resolve.requests.source_position import SourcePosition

_Loader: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the C one where libyaml is there
T = TypeVar("T")
_DEEPEST: Final = 64  # levels; lock files have about 8
_LINE: Final = object()  # no key of a document equals it
_MERGE: Final = object()  # what a plain `<<` is as a key; in quotes it is a text like any other
_ABSENT: Final = {"", "~", "null", "Null", "NULL"}


class Entry:
    """A mapping of a document, which knows its place and checks what is read from it.

    Args:
        values: The mapping.
        place: The list it is in.
    """

    def __init__(self, values: Mapping[Any, Any], place: SourcePosition) -> None:
        self._values = values
        self.place = place.at(values.get(_LINE))

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._values if key is not _LINE)

    def text(self, key: str) -> str | None:
        """Return a scalar, None when it is absent or null.

        Raises:
            UsageError: It is a list or a mapping.
        """
        return self._value(key, str, "a text")

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
        value = self._value(key, dict, "a mapping")
        return None if value is None else Entry(value, self.place)

    def entries(self, key: str) -> list[Entry]:
        """Return the mappings of a list, none when it is absent.

        Raises:
            UsageError: It is no list of mappings.
        """
        expected = "a list of mappings"
        value = self._value(key, list, expected) or []
        if not all(isinstance(item, dict) for item in value):
            raise self.place.error(f"`{key}` is malformed", expected=expected, found="a list")
        return [Entry(item, self.place) for item in value]

    def items(self, key: str) -> list[tuple[SourcePosition, str | Entry]]:
        """Return the texts and mappings of a list, each with its place; none when it is absent, no null ones.

        Raises:
            UsageError: It is no list, or holds lists.
        """
        items: list[tuple[SourcePosition, str | Entry]] = []
        for item in self._value(key, list, "a list") or []:
            if isinstance(item, list):
                raise self.place.error(f"`{key}` is malformed", expected="texts", found="a list in the list")
            if isinstance(item, dict):
                entry = Entry(item, self.place)
                items.append((entry.place, entry))
            elif item not in _ABSENT:
                items.append((self.place.at(getattr(item, "line", None)), str(item)))
        return items

    def _value(self, key: str, kind: type[T], expected: str) -> T | None:
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and value in _ABSENT):
            return None
        if not isinstance(value, kind):
            raise self.place.error(f"`{key}` is malformed", expected=expected, found=f"a {_kind(value)}")
        return value

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


class _Item(str):
    """A text of a list, which knows its line."""

    __slots__ = ("line",)
    line: int


class _Builder:
    """Builds values from a parser's events, without recursion: a document nested deeply must not end the process."""

    def __init__(self, place: SourcePosition) -> None:
        self._place = place
        self._open: list[dict[Any, Any] | list[Any]] = []
        self._keys: list[object] = []
        self._anchors: dict[str, Any] = {}
        self.documents: list[Any] = []

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, yaml.ScalarEvent):
            self._add(event.value, line, merges=event.value == "<<" and event.implicit[0])
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._place.at(line).error(f"not a YAML document (nothing is called {event.anchor!r})")
            self._add(self._anchors[event.anchor], line)
            return
        elif isinstance(event, yaml.CollectionStartEvent):
            collection: dict[Any, Any] | list[Any] = {_LINE: line} if isinstance(event, yaml.MappingStartEvent) else []
            self._add(collection, line)
            self._open.append(collection)
            self._keys.append(None)
            if len(self._open) > _DEEPEST:
                raise self._place.at(line).error("the document is nested too deeply", expected=f"{_DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._keys.pop()
            if isinstance(ended, dict) and _MERGE in ended:
                self._merge(ended)
            return
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = event.value if isinstance(event, yaml.ScalarEvent) else self._open[-1]

    def _merge(self, collection: dict[Any, Any]) -> None:
        """Take over what mappings under `<<` hold: a mapping's own keys count, then those of the first."""
        value = collection.pop(_MERGE)
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise self._place.at(collection[_LINE]).error(
                    "what is merged with `<<` is malformed", expected="mappings", found=f"a {_kind(source)}"
                )
            for key in source:
                collection.setdefault(key, source[key])

    def _add(self, value: Any, line: int, *, merges: bool = False) -> None:
        if not self._open:
            self.documents.append(value)
            return
        collection, key = self._open[-1], self._keys[-1]
        if isinstance(collection, list):
            if isinstance(value, str):
                value = _Item(value)
                value.line = line
            collection.append(value)
        elif key is not None:
            collection[key] = value
            self._keys[-1] = None
        elif not isinstance(value, str):
            raise self._place.at(line).error("a key is malformed", expected="a text", found=f"a {_kind(value)}")
        elif (_MERGE if merges else value) in collection:
            raise self._place.at(line).error(f"`{value[:40]}` occurs twice in one mapping")
        else:
            self._keys[-1] = _MERGE if merges else value


def parse_yaml(text: str, place: SourcePosition) -> Entry:
    """Read a document whose top is a mapping.

    Raises:
        UsageError: Not YAML, or its top is something else.
    """
    builder = _Builder(place)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark is not None else None
        raise place.at(line).error(f"not a YAML document ({exc.problem or exc.context})") from exc
    except (yaml.YAMLError, UnicodeError) as exc:
        raise place.error(f"not a YAML document ({type(exc).__name__})") from exc
    if len(builder.documents) != 1 or not isinstance(builder.documents[0], dict):
        kinds = ", ".join(f"a {_kind(document)}" for document in builder.documents[:3])
        raise place.error("the document is malformed", expected="one mapping at its top", found=kinds or "nothing")
    return Entry(builder.documents[0], place)
