"""Finding the records of an index that the built-in solver cannot read, which it reports without naming them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from asynccache.node.json_text import read_json

_Types = tuple[type, ...]
_NONE: Final = type(None)
_REQUIRED: Final[dict[str, _Types]] = {"name": (str,), "version": (str,), "build": (str,), "build_number": (int,)}
_FIELDS: Final[dict[str, _Types]] = {
    **_REQUIRED,
    "depends": (list,),
    "constrains": (list,),
    "track_features": (str, list),
    "timestamp": (int, _NONE),
    "size": (int, _NONE),
    "features": (str, _NONE),
    "license": (str, _NONE),
    "license_family": (str, _NONE),
    "md5": (str, _NONE),
    "sha256": (str, _NONE),
}
_LARGEST: Final = 512 << 20  # bytes of an index; twice that of the largest public channel


def odd_records(directory: Path) -> list[str]:
    """Return odd records of the indexes in a directory, each with what is wrong with it. Blocking.

    >>> odd_records(Path("/nowhere"))
    []
    """
    found: list[str] = []
    for path in sorted(directory.glob("*.json")):
        try:
            if path.stat().st_size <= _LARGEST:
                found += _odd(read_json(path.read_bytes()))
        except (OSError, ValueError):
            continue  # another process replaced it, or it is not an index
    return found


def _odd(index: Any) -> Iterator[str]:
    for section in ("packages", "packages.conda"):
        records = index.get(section) if isinstance(index, dict) else None
        for filename, record in (records or {}).items():
            fields = {**dict.fromkeys(_REQUIRED), **record}
            wrong = [
                f"{field} is {json.dumps(fields[field])[:40]}"
                for field, types in _FIELDS.items()
                if field in fields and not isinstance(fields[field], types)
            ]
            if wrong:
                yield f"{filename} ({', '.join(wrong)})"
