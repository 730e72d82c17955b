"""Whether a server honours conditional writes, remembered from the first time that this user tried.

One small file for each store in `stores-<number of the user>` of the cache directory, which several users may share.
Only what no other user can have written is believed. All functions block: call them in a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from asynccache.node.json_text import read_json
from asynccache.node.user import others_can_write


class RememberedConditions:
    """What is remembered about one store.

    Args:
        cache_dir: The setting `cache_dir`; None to remember nothing.
        identity: Identity of the store.
    """

    def __init__(self, cache_dir: Path | None, identity: str) -> None:
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._path = None if cache_dir is None else cache_dir / f"stores-{os.geteuid()}" / name
        self._identity = identity

    def known(self) -> bool | None:
        """Return whether it honours conditions; None if that was never tried."""
        if self._path is None:
            return None
        try:
            if others_can_write(self._path.lstat()):
                return None
            found = read_json(self._path.read_bytes())
            return bool(found["conditional_writes"]) if found["store"] == self._identity else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, honoured: bool) -> None:
        """Remember the answer, if the directory can be written."""
        if self._path is None:
            return
        text = json.dumps({"store": self._identity, "conditional_writes": honoured})
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # a new file, whatever other users may have put there
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f"{self._path.name}.")
            temporary = Path(name)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                temporary.replace(self._path)
            except BaseException:
                temporary.unlink()
                raise
