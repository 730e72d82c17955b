"""The raw values of a YAML document: texts, lists, and mappings that know their lines."""

from __future__ import annotations

from typing import Any, Final

LINE: Final = object()  # the key under which a mapping stores its line: no key of a document equals it
Mapped = dict[Any, Any]


class Item(str):
    """A text in a list, which knows its line."""

    __slots__ = ("line",)
    line: int

    @classmethod
    def at(cls, text: str, line: int) -> Item:
        """Return a text with its line."""
        item = cls(text)
        item.line = line
        return item


def kind_of(value: object) -> str:
    """Return the name of a value's type, for errors."""
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "text"
