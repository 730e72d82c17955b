"""How often what is random is tried: enough to notice in `make test`, and many times in `make test-long`."""

from __future__ import annotations

import os
from typing import Final

_LONG: Final = bool(os.environ.get("ASYNCCACHE_TEST_LONG"))


def tries(usual: int, long: int) -> int:
    """Return how often to try: `long` where `ASYNCCACHE_TEST_LONG` is set."""
    return long if _LONG else usual
