"""A `dataclass` whose methods are created with the first instance, and all but `__init__` without the compiler.

The standard decorator compiles seven methods for each frozen class, a millisecond at every start of a process that
imports many such classes and makes instances of some. Type checkers, `fields`, `replace`, `asdict` and users of an
instance see what the standard decorator creates. Not supported: unpickling before the first instance, `InitVar`, and
inheriting between these classes and those of the standard decorator.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from dataclasses import dataclass
else:

    def dataclass(**options: bool) -> Callable[[type], type]:
        """Decorate a class as `dataclasses.dataclass(slots=True, ...)` does."""
        return lambda cls: _begun(options, cls)


_KNOWN: Final = frozenset({"frozen", "slots", "kw_only", "order", "eq"})
_OF_EACH_CLASS: Final = ("__dict__", "__weakref__")
_OWN: Final = "__own_fields__"  # name in a class -> its fields, without those of its bases
_Fields: TypeAlias = "Sequence[dataclasses.Field[Any]]"


def _begun(options: dict[str, bool], cls: type) -> type:
    """Return the class with its slots, which completes itself when it is used."""
    if not _KNOWN.issuperset(options):
        raise TypeError(f"{cls.__qualname__}: of the options of dataclasses only {sorted(_KNOWN)} are here")
    space = {name: value for name, value in vars(cls).items() if name not in _OF_EACH_CLASS}
    names = [name for name, kind in cls.__annotations__.items() if not kind.startswith("ClassVar")]
    first = {name: value for name, value in space.items() if name not in names}

    def __init__(self: object, *given: object, **named: object) -> None:  # noqa: N807
        _complete(begun, options, first)
        begun.__init__(self, *given, **named)  # type: ignore[misc]

    slots = [name for name in names if not any(name in vars(base).get("__slots__", ()) for base in cls.__mro__[1:])]
    begun = type(cls)(cls.__name__, cls.__bases__, {**first, "__slots__": tuple(slots), "__init__": __init__})
    setattr(begun, _OWN, [_field(name, cls, kw_only=options.get("kw_only", False)) for name in names])
    for name in ("__dataclass_fields__", "__dataclass_params__"):
        setattr(begun, name, _Standard(begun, name, options, space))
    return begun


def _field(name: str, cls: type, *, kw_only: bool) -> dataclasses.Field[Any]:
    """Return a field as the standard decorator would have it."""
    given = vars(cls).get(name, dataclasses.MISSING)
    found: dataclasses.Field[Any] = given if isinstance(given, dataclasses.Field) else dataclasses.field(default=given)
    found.name, found.type = name, cls.__annotations__[name]
    if found.kw_only is dataclasses.MISSING:
        found.kw_only = kw_only
    return found


class _Standard:
    """Placeholder for an attribute of the standard decorator, until it is used."""

    def __init__(self, cls: type, name: str, options: dict[str, bool], space: dict[str, Any]) -> None:
        self._cls = cls
        self._name = name
        self._kw_only = options.get("kw_only", False)
        self._space = space

    def __get__(self, instance: object, owner: type) -> Any:
        cls = self._cls
        space = {
            **self._space,
            "__doc__": cls.__name__,
        }  # without a docstring the decorator creates one, which takes long
        plain = type(cls)(cls.__name__, cls.__bases__, space)
        like: type = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=self._kw_only)(plain)
        value = vars(like)[self._name]
        setattr(cls, self._name, value)
        return value if owner is cls else getattr(owner, self._name)


def _complete(cls: type, options: dict[str, bool], space: Mapping[str, Any]) -> None:
    """Give the class the methods that the standard decorator would create."""
    fields: dict[str, dataclasses.Field[Any]] = {}
    for base in cls.__mro__[::-1]:
        fields |= {field.name: field for field in vars(base).get(_OWN, ())}
    written = _methods(cls, tuple(fields.values()), options)
    for name, value in written.items():
        if name not in space:
            setattr(cls, name, value)
    # last: another thread that finds it considers the class complete
    cls.__init__ = _initializer(cls, tuple(fields.values()), frozen=options.get("frozen", False))  # type: ignore[misc]


def _methods(cls: type, fields: _Fields, options: dict[str, bool]) -> dict[str, Any]:
    """Return the methods besides `__init__` of classes with these fields."""
    names = [field.name for field in fields]
    every = _values(names)
    shown = [field.name for field in fields if field.repr]

    def __repr__(self: object) -> str:  # noqa: N807
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({inside})"

    def __getstate__(self: object) -> list[Any]:  # noqa: N807
        return list(every(self))

    def __setstate__(self: object, state: Sequence[Any]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    def __replace__(self: Any, **changes: object) -> object:  # noqa: N807 - `copy.replace` calls it, from 3.13 on
        return dataclasses.replace(self, **changes)

    written: dict[str, Any] = {"__repr__": __repr__, "__replace__": __replace__}
    written["__match_args__"] = tuple(field.name for field in fields if field.init and not field.kw_only)
    if options.get("frozen"):
        written |= {"__getstate__": __getstate__, "__setstate__": __setstate__, **_frozen(cls, frozenset(names))}
    if options.get("eq", True):
        compared = _values([field.name for field in fields if field.compare])
        hashed = [field.name for field in fields if (field.compare if field.hash is None else field.hash)]
        written |= _comparing(compared, _ORDERED if options.get("order") else ("__eq__",))
        written["__hash__"] = _hashing(_values(hashed)) if options.get("frozen") else None
    return written


_ORDERED: Final = ("__eq__", "__lt__", "__le__", "__gt__", "__ge__")


def _values(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that reads some attributes."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda instance: tuple(getattr(instance, name) for name in names)


def _comparing(values: Callable[[Any], tuple[Any, ...]], methods: Sequence[str]) -> dict[str, Any]:
    def written(name: str) -> Callable[[object, object], Any]:
        compare = getattr(tuple, name)

        def method(self: object, other: object) -> Any:
            return compare(values(self), values(other)) if type(other) is type(self) else NotImplemented

        return method

    return {name: written(name) for name in methods}


def _hashing(values: Callable[[Any], tuple[Any, ...]]) -> Callable[[object], int]:
    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    return __hash__


def _frozen(cls: Any, names: frozenset[str]) -> dict[str, Any]:
    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


def _initializer(cls: type, fields: _Fields, *, frozen: bool) -> Callable[..., None]:
    """Compile `__init__`: of plain statements, it is as fast as the standard one."""
    known: dict[str, Any] = {"_absent": dataclasses.MISSING, "_set": object.__setattr__}
    positional, named = ["self"], list[str]()
    body: list[str] = []
    for field in fields:
        name, default, made = field.name, f"_default_{field.name}", f"_made_{field.name}"
        value = name
        if field.default_factory is not dataclasses.MISSING:
            known[made] = field.default_factory
            value = f"{made}() if {name} is _absent else {name}" if field.init else f"{made}()"
        elif field.default is not dataclasses.MISSING:
            known[default] = field.default
            value = name if field.init else default
        elif not field.init:
            continue
        if field.init:
            given = f"={'_absent' if made in known else default}" if made in known or default in known else ""
            (named if field.kw_only else positional).append(name + given)
        body.append(f" _set(self, {name!r}, {value})" if frozen else f" self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    head = ", ".join([*positional, *(["*", *named] if named else [])])
    exec("\n".join([f"def __init__({head}):", *body, " return"]), known)  # noqa: S102 - as the standard decorator does
    function: Callable[..., None] = known["__init__"]
    function.__qualname__ = f"{cls.__qualname__}.__init__"
    function.__annotations__ = {**{field.name: field.type for field in fields if field.init}, "return": None}
    return function
