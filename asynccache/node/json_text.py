"""Reading untrusted JSON (from stores, archives, programs) so that nothing in it can crash the reader."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DECODER = json.JSONDecoder()


def read_json(data: str | bytes) -> Any:
    """Return the value of a text.

    Raises:
        ValueError: It is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json_at(text: str, position: int) -> tuple[Any, int]:
    """Return the value that begins at a position, and where it ends.

    Raises:
        ValueError: None begins there, or it is nested too deeply.
    """
    try:
        return _DECODER.raw_decode(text, position)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
