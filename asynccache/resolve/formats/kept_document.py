"""The parsed content of YAML files, so that an unchanged file is not parsed again.

Values are stored as JSON with their lines, under the digest of the whole text, where only this user can write: a change
would alter the request. Files with credentials, long files, and files with aliases, which can expand to far more than
the file, are not stored. An unreadable entry is parsed again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from asynccache.model.url import redacted
from asynccache.node.json_text import read_json
from asynccache.resolve.formats.yaml_values import LINE, Item, Mapped

if TYPE_CHECKING:
    from asynccache.engine.verified import Verified

_PLACE: Final = "YAML documents, format 1"
_LONGEST: Final = 65_536  # characters of a file; an environment.yml has a thousand
_MOST: Final = 64  # documents; one more, and all are forgotten


class KeptDocument:
    """The stored content of one text. All methods block.

    Args:
        memory: Where it is stored.
        text: The whole file.
    """

    def __init__(self, memory: Verified, text: str) -> None:
        self._memory = memory
        self._text = text
        self._name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def read(self) -> Mapped | None:
        """Return the mapping that the text represents; None if unknown."""
        found = self._memory.version(_PLACE, self._name)
        if found is None:
            return None
        try:
            values = _decoded(read_json(found))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return values if isinstance(values, dict) else None

    def write(self, values: Mapped) -> None:
        """Store the mapping that the text represents, if allowed."""
        if len(self._text) <= _LONGEST and redacted(self._text) == self._text:
            self._memory.add(_PLACE, [(self._name, json.dumps(_encoded(values)))], most=_MOST)


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {"line": value[LINE], "values": {key: _encoded(value[key]) for key in value if key is not LINE}}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    return {"line": value.line, "text": str(value)} if isinstance(value, Item) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        line = value["line"]
        if not isinstance(line, int):
            raise TypeError("a line is no number")
        if "text" in value:
            return Item.at(_text(value["text"]), line)
        return {LINE: line, **{key: _decoded(item) for key, item in value["values"].items()}}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a value is no text")
    return value
