"""Whether metaflow-netflixext is installed, whose import paths lead here where it is not. Standard library, 3.7."""

from __future__ import annotations

import os
from typing import Iterable

ROOT = "metaflow_extensions"
DISTRIBUTION = "metaflow-netflixext"
_MODULE = os.path.join("netflixext", "plugins", "conda", "env_descr.py")


def other_extension(places: Iterable[str]) -> str | None:
    """Return where the extension's modules are, None if it is not installed.

    A code package has its directories, too, with a bootstrap that is ours and none of its modules.

    Args:
        places: The `__path__` of the namespace that extensions share.
    """
    return next((place for place in places if os.path.isfile(os.path.join(place, _MODULE))), None)
