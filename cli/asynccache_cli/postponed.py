"""Modules of the standard library that are loaded when they are first used, not when they are imported.

Many modules import them for what few commands do. `importlib.util.LazyLoader` does not do: with it the second `import`
of a module loads it, and until Python 3.12 another thread may see a half-loaded module.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock
from importlib.util import module_from_spec
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# only modules used as `MODULE.NAME`: `from MODULE import NAME` loads one at once
_MODULES = (
    "asyncio", "configparser", "ctypes", "difflib", "getpass", "hmac", "inspect", "linecache", "platform", "secrets",
    "shutil", "socket", "ssl", "subprocess", "tempfile", "tokenize",
)  # fmt: skip


class _Postponed(ModuleType):
    """A module that has nothing but its name yet."""

    def __getattribute__(self, name: str) -> Any:
        own: dict[str, Any] = ModuleType.__getattribute__(self, "__dict__")
        if name in {"__class__", "__dict__", "__name__", "__spec__"}:
            return ModuleType.__getattribute__(self, name)
        if name in own["_instead"]:
            return own["_instead"][name]
        _load(self, own)
        return ModuleType.__getattribute__(self, name)


def postpone() -> None:
    """Postpone loading the modules that are not loaded yet."""
    for name in _MODULES:
        if name not in sys.modules:
            sys.modules[name] = module = _Postponed(name)
            module.__dict__.update(_lock=RLock(), _instead=_INSTEAD.get(name, {}))


def _cleandoc(text: str) -> str:
    """Return what `inspect.cleandoc` does; click calls it for each option, whose text has one line."""
    if "\n" not in text:
        return text.expandtabs().lstrip()
    module = sys.modules["inspect"]
    _load(module, vars(module))
    cleaned: str = module.cleandoc(text)
    return cleaned


# what every command uses of a module, and is too little to load it for
_INSTEAD: dict[str, dict[str, Any]] = {
    "inspect": {"cleandoc": _cleandoc},
    "platform": {"system": lambda: os.uname().sysname},  # the module uuid asks for it
}


def _load(module: ModuleType, own: dict[str, Any]) -> None:
    with own["_lock"]:
        if own["__spec__"] is None:  # neither loaded by another thread meanwhile, nor being loaded by this one
            _execute(module, own)


def _execute(module: ModuleType, own: dict[str, Any]) -> None:
    name = own["__name__"]
    spec = next(spec for finder in sys.meta_path if (spec := finder.find_spec(name, None)) is not None)
    if spec.loader is None:
        raise ModuleNotFoundError(f"no module named {name!r}", name=name)
    own.update(vars(module_from_spec(spec)))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    module.__class__ = ModuleType
