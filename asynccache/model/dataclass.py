"""`dataclass` whose methods are written when the first instance is made.

The standard decorator compiles six methods for each frozen class, half a millisecond at every start of a process that
imports many such classes and makes instances of few. Type checkers, `fields`, `replace`, `asdict` and whoever has an
instance see what the standard decorator makes. Not supported: unpickling where no instance was made before.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:

    def dataclass(**options: bool) -> Callable[[type], type]:
        """Decorate a class as `dataclasses.dataclass(slots=True, ...)` does."""
        return lambda cls: _begun({**options, "slots": True}, cls)


_WRITTEN: Final = (
    "__dataclass_fields__", "__dataclass_params__", "__match_args__", "__init__", "__repr__", "__eq__", "__hash__",
    "__lt__", "__le__", "__gt__", "__ge__", "__setattr__", "__delattr__", "__getstate__", "__setstate__", "__replace__",
)  # fmt: skip
_OF_EACH_CLASS: Final = ("__dict__", "__weakref__")


def _begun(options: dict[str, bool], cls: type) -> type:
    """Return the class with its slots, which completes itself when it is used."""
    space = {name: value for name, value in vars(cls).items() if name not in _OF_EACH_CLASS}
    names = [name for name, kind in cls.__annotations__.items() if not kind.startswith("ClassVar")]
    first = {name: value for name, value in space.items() if name not in names}

    def __init__(self: object, *given: object, **named: object) -> None:  # noqa: N807
        unwritten.complete()
        begun.__init__(self, *given, **named)  # type: ignore[misc]

    slots = [name for name in names if not any(name in vars(base).get("__slots__", ()) for base in cls.__mro__[1:])]
    begun = type(cls)(cls.__name__, cls.__bases__, {**first, "__slots__": tuple(slots), "__init__": __init__})
    unwritten = _Unwritten(begun, options, space)
    begun.__dataclass_fields__ = unwritten  # type: ignore[attr-defined]
    return begun


class _Unwritten:
    """Stands for the fields of a class until somebody asks for them or makes an instance."""

    def __init__(self, cls: type, options: dict[str, bool], space: dict[str, Any]) -> None:
        self._cls = cls
        self._options = options
        self._space = space

    def __get__(self, instance: object, owner: type) -> Any:
        self.complete()
        return owner.__dataclass_fields__  # type: ignore[attr-defined]

    def complete(self) -> None:
        """Give the class what the standard decorator writes into one like it."""
        cls = self._cls
        plain = type(cls)(cls.__name__, cls.__bases__, dict(self._space))
        like: type = dataclasses.dataclass(**self._options)(plain)
        for name in _WRITTEN:
            if name in vars(like):
                setattr(cls, name, vars(like)[name])
