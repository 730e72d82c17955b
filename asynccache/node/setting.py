"""One setting: which values it can have, and how they are read from text, TOML and JSON.

Python 3.7, standard library.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

from asynccache.node.json_text import read_json

_FALSE = ("", "0", "false", "no", "off")
_WORDS = {
    "text": "a text",
    "path": "a path",
    "flag": "true or false",
    "whole": "a whole number",
    "number": "a number",
    "texts": "a JSON list of texts",
    "map": "a JSON object",
    "map of texts": "a JSON object of texts",
    "map of lists": "a JSON object of lists of texts",
    "map of maps": "a JSON object of objects of texts",
}
_SHAPES: dict[str, tuple[type, ...]] = {
    "texts": (list,),
    "map": (dict,),
    "map of texts": (dict,),
    "map of lists": (dict, list),
    "map of maps": (dict, dict),
}


class Setting(NamedTuple):
    """A row of the table of settings.

    Attributes:
        name: Field of `asynccache.config.Settings`; empty for settings of Metaflow only.
        kind: `text`, `path`, `flag`, `whole`, `number`, `texts`, `map`, `map of texts`, `map of lists` or
            `map of maps`.
        default: Its default value, or a function that returns it.
        text: Its description, for the page of settings and `asynccache config`.
        metaflow: Name in Metaflow's configuration, without `METAFLOW_`.
        core: Whether Metaflow itself has this name; the extension adds the others.
        metaflow_default: Its default in `metaflow.metaflow_config`, if that differs.
        also: Further environment variables.
        flag: Its flag on the command line; empty if that is the name.
        choices: The allowed values.
        minimum: Smallest value.
        maximum: Largest value.
        check: Returns whether a value of this type is valid; `words` describes valid values.
        words: Description of valid values, if it does not follow from the rest.
        null: Meaning of `null` in Metaflow's files; None means not set.
        secret: Whether its value must never be shown.
        default_text: The default in words, if it depends on the machine.
    """

    name: str
    kind: str
    default: Any
    text: str
    metaflow: str = ""
    core: bool = False
    metaflow_default: Any = None
    also: tuple[str, ...] = ()
    flag: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    check: Callable[[Any], bool] | None = None
    words: str = ""
    null: str | None = None
    secret: bool = False
    default_text: str = ""

    @property
    def variables(self) -> list[str]:
        """The environment variables that set it, in order of precedence."""
        own = ["ASYNCCACHE_" + self.name.upper()] if self.name else []
        return own + (["METAFLOW_" + self.metaflow] if self.metaflow else []) + list(self.also)

    @property
    def blank_is_unset(self) -> bool:
        """Whether an empty text means not set."""
        return self.kind in ("text", "path") and not self.choices and self.check is None

    @property
    def expected(self) -> str:
        """Which values are valid, in words."""
        if self.choices:
            return f"set to one of {list(self.choices)}"
        if self.words:
            return self.words
        words = _WORDS[self.kind]
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {self.minimum:g} to {self.maximum:g}"
        return words if self.minimum is None else f"{words} of at least {self.minimum:g}"

    def read(self, raw: Any, said: str, *, strict: bool = False) -> Any:
        """Return the value of a text or of an entry in a file.

        Args:
            raw: The text or entry.
            said: Its source: a variable, a flag, or a file and a key.
            strict: Lists must be JSON, as for Metaflow; otherwise also texts with commas.

        Raises:
            ValueError: It is invalid; the message says what is valid.
        """
        try:
            value = self._converted(raw, strict)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(self._refusal(raw, said)) from None
        if not self._can_be(value):
            raise ValueError(self._refusal(raw, said))
        return value

    def hold(self, value: Any, said: str) -> None:
        """Refuse an invalid value of the right type.

        Raises:
            ValueError: It is invalid; the message says what is valid.
        """
        if not self._can_be(value):
            raise ValueError(self._refusal(value, said))

    def _can_be(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.check is not None:
            return self.check(value)
        if self.kind not in ("whole", "number"):
            return True
        above = self.minimum is None or value >= self.minimum
        return math.isfinite(value) and above and (self.maximum is None or value <= self.maximum)

    def _refusal(self, raw: Any, said: str) -> str:
        shown = "It is not shown" if self.secret else f"Got {raw!r}"
        return f"{said} must be {self.expected}. {shown}."

    def _converted(self, raw: Any, strict: bool) -> Any:
        if self.kind in ("text", "path"):
            if not isinstance(raw, str) and not (self.kind == "path" and hasattr(raw, "__fspath__")):
                raise TypeError
            return raw
        if self.kind == "flag":
            if isinstance(raw, str):
                return raw.strip().lower() not in _FALSE
            if not isinstance(raw, bool):
                raise TypeError
            return raw
        if self.kind in ("whole", "number"):
            return _number(raw, whole=self.kind == "whole")
        if self.kind == "texts" and not strict and isinstance(raw, str) and raw.lstrip()[:1] not in ("[", "{", '"'):
            return [part.strip() for part in raw.split(",") if part.strip()]
        value = read_json(raw) if isinstance(raw, str) else raw
        if not _has_shape(value, _SHAPES[self.kind], anything=self.kind == "map"):
            raise TypeError
        return value


def _number(raw: Any, *, whole: bool) -> Any:
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        raise TypeError
    try:
        value = int(raw)
    except ValueError:
        if whole:
            raise
        return float(raw)
    if value == raw or isinstance(raw, str):
        return value
    if whole:
        raise ValueError
    return raw


def _has_shape(value: Any, shape: tuple[type, ...], anything: bool = False) -> bool:
    """Return whether a value is texts, or anything, in containers of these types, the outermost first."""
    if not shape:
        return anything or isinstance(value, str)
    inner = value.values() if isinstance(value, dict) else value
    return isinstance(value, shape[0]) and all(_has_shape(each, shape[1:], anything) for each in inner)
