"""Parsing the text of a YAML document into values with PyYAML's parser.

Tags, and with them the construction of objects, are ignored; a duplicate key is an error.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from asynccache.resolve.formats.yaml_values import LINE, Item, Mapped, kind_of
from asynccache.resolve.requests.source_position import SourcePosition

_Loader: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the C parser if libyaml is available
_DEEPEST: Final = 64  # levels; lock files have about 8
_MERGE: Final = object()  # the key for a plain `<<`; in quotes it is ordinary text


class _Builder:
    """Builds values from a parser's events, without recursion: a deeply nested document must not crash the process."""

    def __init__(self, place: SourcePosition) -> None:
        self._place = place
        self._open: list[Mapped | list[Any]] = []
        self._keys: list[object] = []
        self._anchors: dict[str, Any] = {}
        self.documents: list[Any] = []
        self.shared = False

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, yaml.ScalarEvent):
            self._add(event.value, line, merges=event.value == "<<" and event.implicit[0])
        elif isinstance(event, yaml.AliasEvent):
            self.shared = True
            if event.anchor not in self._anchors:
                raise self._place.at(line).error(f"not a YAML document (nothing is called {event.anchor!r})")
            self._add(self._anchors[event.anchor], line)
            return
        elif isinstance(event, yaml.CollectionStartEvent):
            collection: Mapped | list[Any] = {LINE: line} if isinstance(event, yaml.MappingStartEvent) else []
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

    def _merge(self, collection: Mapped) -> None:
        """Merge mappings under `<<`: a mapping's own keys take precedence, then those of the first."""
        value = collection.pop(_MERGE)
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise self._place.at(collection[LINE]).error(
                    "what is merged with `<<` is malformed", expected="mappings", found=f"a {kind_of(source)}"
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
                value = Item.at(value, line)
            collection.append(value)
        elif key is not None:
            collection[key] = value
            self._keys[-1] = None
        elif not isinstance(value, str):
            raise self._place.at(line).error("a key is malformed", expected="a text", found=f"a {kind_of(value)}")
        elif (_MERGE if merges else value) in collection:
            raise self._place.at(line).error(f"`{value[:40]}` occurs twice in one mapping")
        else:
            self._keys[-1] = _MERGE if merges else value


def read_values(text: str, place: SourcePosition) -> tuple[Mapped, bool]:
    """Return the mapping of a document, and whether it has aliases.

    Raises:
        UsageError: It is not YAML, or its top level is of another type.
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
        kinds = ", ".join(f"a {kind_of(document)}" for document in builder.documents[:3])
        raise place.error("the document is malformed", expected="one mapping at its top", found=kinds or "nothing")
    return builder.documents[0], builder.shared
