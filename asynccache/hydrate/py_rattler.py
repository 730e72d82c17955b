"""What extracting and linking with py-rattler have in common."""

from __future__ import annotations

import functools

from rattler.networking import Client


@functools.cache
def offline_client() -> Client:
    """Return a client without credentials; no request is made with it."""
    return Client()


def is_full(error: Exception) -> bool:
    """Return whether a failure of the library means a full disk, which it says in words only."""
    return "No space left on device" in str(error) or "Disk quota exceeded" in str(error)
