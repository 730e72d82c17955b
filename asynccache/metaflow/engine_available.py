"""Whether this Python has what resolving and making environments needs.

Metaflow ships asynccache itself into steps, and not what it depends on. Standard library, Python 3.7.
"""

from __future__ import annotations

import importlib.util
import sys

from asynccache.metaflow.errors import CondaException

_OLDEST = (3, 11)
_NEEDED = ("aiohttp", "packaging", "rattler", "yaml")


def require_engine() -> None:
    """Refuse to launch where the engine cannot be imported.

    Raises:
        CondaException: Says what is missing and what to do.
    """
    version = "{}.{}".format(*sys.version_info[:2])
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info[:2] >= _OLDEST and not missing:
        return
    why = "has no " + ", ".join(missing) if missing else "is Python " + version
    raise CondaException(
        f"Environments cannot be resolved with this Python ({sys.executable}), which {why}: a step's environment has"
        " what the step asks for, not what asynccache needs. A step that launches flows with --environment=conda runs"
        " outside of any environment: @conda(disabled=True)."
    )
