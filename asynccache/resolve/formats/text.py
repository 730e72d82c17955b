"""Reading the text of a user's file, in any encoding that editors write."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path
from typing import Any, Final

from asynccache.errors import UsageError
from asynccache.node.disk import input_error
from asynccache.resolve.requests.source_position import STANDARD_INPUT, SourcePosition

# The longer mark first: that of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_text(name: str) -> str:
    """Return the text of a file, without its byte order mark. Blocking.

    Args:
        name: Its path; `-` for standard input.

    Raises:
        ObjectNotFoundError: There is no such file.
        UsageError: It cannot be read, or is not text.
    """
    try:
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    except OSError as exc:
        raise input_error(SourcePosition(name), exc) from exc
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as exc:
        raise UsageError(
            f"{SourcePosition(name)} cannot be read (it is not {encoding.upper()} text)",
            hint="write it again as UTF-8, or as UTF-16 with a byte order mark",
        ) from exc


def parse_toml(text: str, place: SourcePosition) -> dict[str, Any]:
    """Return a TOML document.

    Raises:
        UsageError: It is none.
    """
    import tomllib  # noqa: PLC0415 - most files are not TOML

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise place.error(f"not a TOML document ({exc})") from exc
