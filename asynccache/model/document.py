"""Results as plain values: what `--json` prints, receipts hold and programs store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from asynccache.model.identity import EnvID


class Documented:
    """A value whose document holds all its fields."""

    __slots__ = ()

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return document(self)


def document(value: object, *names: str, **more: object) -> dict[str, Any]:
    """Return attributes of a value by their names, as plain values.

    Args:
        value: An instance of a dataclass.
        names: Attributes and properties in the order wanted; all fields when none is named. One that is an `EnvID`
            becomes the three values `req_id`, `full_id` and `arch`.
        more: Further values by their name, laid over the others.

    Returns:
        Texts, numbers, lists and maps. Times and durations are in seconds, rounded to a millisecond.
    """
    found: dict[str, Any] = {}
    for name in names or [item.name for item in fields(value)]:  # type: ignore[arg-type]
        part = getattr(value, name)
        if isinstance(part, EnvID):
            found |= {"req_id": part.req_id, "full_id": part.full_id, "arch": part.arch}
        else:
            found[name] = plain(part)
    return found | {name: plain(part) for name, part in more.items()}


def plain(value: object) -> Any:
    """Return a value as JSON has it: what has a document becomes that, what is no plain value its text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if hasattr(value, "as_document"):
        return value.as_document()
    if is_dataclass(value) and "__str__" not in vars(type(value)):
        return document(value)
    return str(value)
