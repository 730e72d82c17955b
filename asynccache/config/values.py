"""What a setting's text, TOML value or JSON value becomes, by the type of its field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

_FALSE: Final = {"", "0", "false", "no", "off"}


def _number(convert: Callable[[Any], float], word: str) -> Callable[[object], float]:
    def converted(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise TypeError(word)
        try:
            return convert(raw)
        except ValueError:
            raise ValueError(word) from None

    return converted


def _boolean(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        return raw.strip().lower() not in _FALSE
    raise TypeError("true or false")


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise TypeError("text")
    return raw


def _path(raw: object) -> Path:
    if not isinstance(raw, str | Path):
        raise TypeError("a path")
    return Path(raw).expanduser()


def _json(raw: object, wanted: str) -> object:
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError:
        raise ValueError(wanted) from None


def _list(raw: object) -> list[str]:
    wanted = "a JSON list of texts, or texts with commas"
    if isinstance(raw, str) and not raw.lstrip().startswith(("[", "{", '"')):
        return [part.strip() for part in raw.split(",") if part.strip()]
    value = _json(raw, wanted)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise TypeError(wanted)
    return list(value)


def _mapping(word: str, check: Callable[[object], bool]) -> Callable[[object], dict[str, Any]]:
    wanted = f"a JSON object of {word}"

    def converted(raw: object) -> dict[str, Any]:
        value = _json(raw, wanted)
        if not isinstance(value, dict) or not all(isinstance(k, str) and check(v) for k, v in value.items()):
            raise TypeError(wanted)
        return dict(value)

    return converted


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


CONVERTERS: Final[dict[Any, Callable[[object], object]]] = {
    bool: _boolean,
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
    str: _text,
    Path: _path,
    list[str]: _list,
    Mapping[str, str]: _mapping("texts", _is_text),
    Mapping[str, list[str]]: _mapping("lists of texts", _is_texts),
    Mapping[str, dict[str, str]]: _mapping("objects of texts", _is_text_map),
}
