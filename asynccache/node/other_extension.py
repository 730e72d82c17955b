"""Whether metaflow-netflixext is installed; otherwise its import paths lead to asynccache. Standard library, 3.7."""

from __future__ import annotations

import os
from typing import Iterable

ROOT = "metaflow_extensions"
DISTRIBUTION = "metaflow-netflixext"
_MODULE = os.path.join("netflixext", "plugins", "conda", "env_descr.py")


def other_extension(places: Iterable[str]) -> str | None:
    """Return the directory of the extension's modules, None if it is not installed.

    A code package also has its directories, with our bootstrap and none of its modules.

    Args:
        places: The `__path__` of the namespace that extensions share.
    """
    return next((place for place in places if os.path.isfile(os.path.join(place, _MODULE))), None)
