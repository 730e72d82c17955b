"""YAML files as plain values with line numbers.

Every scalar is read as text: a digest of only digits, or a version `1.10`, must not become a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asynccache.model.digest import Digests
from asynccache.resolve.formats.yaml_values import LINE, kind_of
from asynccache.resolve.requests.source_position import SourcePosition

if TYPE_CHECKING:
    from asynccache.engine.verified import Verified

T = TypeVar("T")
_ABSENT: Final = {"", "~", "null", "Null", "NULL"}


class Entry:
    """A mapping of a document, which knows its position and checks what is read from it.

    Args:
        values: The mapping.
        place: The list it is in.
    """

    def __init__(self, values: Mapping[Any, Any], place: SourcePosition) -> None:
        self._values = values
        self.place = place.at(values.get(LINE))

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._values if key is not LINE)

    def text(self, key: str) -> str | None:
        """Return a scalar, None if it is absent or null.

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
        """Return a whole number that is not negative, None if it is absent.

        Raises:
            UsageError: It is of another type.
        """
        value = self.text(key)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            raise self.place.error(f"`{key}` is malformed", expected="a number of bytes", found=repr(value[:80]))
        return int(value)

    def entry(self, key: str) -> Entry | None:
        """Return a mapping, None if it is absent.

        Raises:
            UsageError: It is of another type.
        """
        value = self._value(key, dict, "a mapping")
        return None if value is None else Entry(value, self.place)

    def entries(self, key: str) -> list[Entry]:
        """Return the mappings of a list; empty if it is absent.

        Raises:
            UsageError: It is not a list of mappings.
        """
        expected = "a list of mappings"
        value = self._value(key, list, expected) or []
        if not all(isinstance(item, dict) for item in value):
            raise self.place.error(f"`{key}` is malformed", expected=expected, found="a list")
        return [Entry(item, self.place) for item in value]

    def items(self, key: str) -> list[tuple[SourcePosition, str | Entry]]:
        """Return the texts and mappings of a list, each with its position, without nulls; empty if it is absent.

        Raises:
            UsageError: It is not a list, or holds lists.
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
            raise self.place.error(f"`{key}` is malformed", expected=expected, found=f"a {kind_of(value)}")
        return value

    def digests(self, *, size: bool = True) -> Digests:
        """Return the values of the keys `md5`, `sha256` and `size`.

        Raises:
            UsageError: One of them is malformed.
        """
        md5, sha256 = self.text("md5"), self.text("sha256")
        known_size = self.number("size") if size else None
        with self.place.located():
            return Digests(md5=md5, sha256=sha256, size=known_size)


def parse_yaml(text: str, place: SourcePosition, memory: Verified | None = None) -> Entry:
    """Read a document whose top level is a mapping. Blocking if there is a memory.

    Args:
        text: The document.
        place: The file.
        memory: What this user read before, for files that are read repeatedly.

    Raises:
        UsageError: It is not YAML, or its top level is of another type.
    """
    kept = None
    if memory is not None:
        from asynccache.resolve.formats.kept_document import KeptDocument  # noqa: PLC0415 - not of locks

        kept = KeptDocument(memory, text)
        if (known := kept.read()) is not None:
            return Entry(known, place)
    from asynccache.resolve.formats.yaml_events import read_values  # noqa: PLC0415 - imports PyYAML

    values, shared = read_values(text, place)
    if kept is not None and not shared:
        kept.write(values)
    return Entry(values, place)
