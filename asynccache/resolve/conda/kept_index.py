"""Where conda's programs cache the indexes that they read: a directory of this user's own, for offline and later
solves.

Programs name the files in it by the address of the channel and check them against it as in their own cache. Which
channels were read for which architecture is recorded beside them, since an offline program takes an index that it does
not have for an empty one, or for a network that is down.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from asynccache.errors import DiskError, IndexRefusedError
from asynccache.model.url import redacted
from asynccache.node.user import others_can_write


class KeptIndex:
    """The kept indexes of one program. Blocking: call it in threads.

    Args:
        cache_dir: Setting `cache_dir`; other users may write to it.
        program: `conda`, `mamba` or `micromamba`, whose format of indexes is used.

    Attributes:
        directory: Directory for `CONDA_PKGS_DIRS`.

    Raises:
        DiskError: It cannot be created, or another user can write to it.
    """

    def __init__(self, cache_dir: Path, program: str) -> None:
        self.directory = cache_dir / "conda-index" / str(os.geteuid()) / program
        own = self.directory.parent
        try:
            own.parent.mkdir(parents=True, exist_ok=True)
            own.mkdir(mode=0o700, exist_ok=True)
            closed = not own.is_symlink() and not others_can_write(own.lstat())
            if closed:
                self.directory.mkdir(exist_ok=True)
        except OSError as exc:
            raise DiskError(f"the directory for channels' indexes {own} cannot be made ({exc.strerror})") from exc
        if not closed:
            raise DiskError(f"other users can write {own}, where channels' indexes are kept", hint="remove it")

    def require(self, channels: Iterable[str], arch: str) -> None:
        """Check that the indexes of channels were read before.

        Raises:
            IndexRefusedError: They were not, or not all.
        """
        asked = list(channels)
        if not self._marker(asked, arch).is_file():
            raise IndexRefusedError(
                f"nothing was kept of {', '.join(map(redacted, asked)) or 'the channels'} for {arch}, which must do"
                " while offline",
                hint="resolve once without --offline, with the same channels",
            )

    def was_read(self, channels: Iterable[str], arch: str) -> None:
        """Record that the indexes of channels are cached."""
        self._marker(channels, arch).touch()

    def _marker(self, channels: Iterable[str], arch: str) -> Path:
        text = json.dumps([sorted(channels), arch])
        return self.directory / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.read"
