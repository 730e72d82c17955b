"""What the values of a YAML document are before anybody asks for one: texts, lists, mappings that know their lines."""

from __future__ import annotations

from typing import Any, Final

LINE: Final = object()  # the key under which a mapping has its line: no key of a document equals it
Mapped = dict[Any, Any]


class Item(str):
    """A text of a list, which knows its line."""

    __slots__ = ("line",)
    line: int

    @classmethod
    def at(cls, text: str, line: int) -> Item:
        """Return a text that stands in a line."""
        item = cls(text)
        item.line = line
        return item


def kind_of(value: object) -> str:
    """Name what a value is, for errors."""
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "text"
