"""Results as plain values: what `--json` prints, receipts hold and programs store.

A class says what its document holds. The values' types are those of its fields and properties, and their meaning is in
its docstrings: docs/json.md and the JSON Schemas are made of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from asynccache.model.identity import EnvID


class Documented:
    """A value that has a document.

    Attributes:
        DOCUMENT: Names of the fields and properties in it, in order, as for `document`; if empty, all fields.
    """

    __slots__ = ()
    DOCUMENT: ClassVar[tuple[str, ...]] = ()

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return document(self, *self.DOCUMENT)


def document(value: object, *names: str, **more: object) -> dict[str, Any]:
    """Return attributes of a value by their names, as plain values.

    Args:
        value: Any object; a dataclass if no names are given.
        names: Attributes and properties in the wanted order; if empty, all fields. `ATTRIBUTE as NAME` renames one.
            `*ATTRIBUTE` includes everything in its own document, and nothing if it is None; that of an `EnvID` is
            always included in this way.
        more: Further values by name, which override the others.

    Returns:
        Texts, numbers, lists and maps. Durations are in seconds, rounded to a millisecond; a time is a text (ISO 8601,
        UTC).
    """
    found: dict[str, Any] = {}
    for text in names or [item.name for item in fields(value)]:  # type: ignore[arg-type]
        attribute, _, name = text.partition(" as ")
        part = getattr(value, attribute.removeprefix("*"))
        if attribute.startswith("*") or (isinstance(part, EnvID) and not name):
            found |= plain(part) or {}
        else:
            found[name or attribute] = plain(part)
    return found | {name: plain(part) for name, part in more.items()}


def plain(value: object) -> Any:
    """Return a value for JSON: an object with a document becomes that, any other value that is not plain its text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, EnvID):
        return {"req_id": value.req_id, "full_id": value.full_id, "arch": value.arch}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if hasattr(value, "as_document"):
        return value.as_document()
    if is_dataclass(value) and "__str__" not in vars(type(value)):
        return document(value)
    return str(value)
