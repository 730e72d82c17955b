"""A conda channel whose Python runs, with what helper environments hold: wheels can be built with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.support.channel import Channel, Profile, build_channel, fingerprint, load_channel
from tests.support.shared import making
from tests.support.testdata import REPOSITORY

_HELPERS: Final = Profile(
    ("pip", "setuptools<82", "six", "tomli", "tzdata", "uv", "wheel"), many_files=10, large_file_mib=1
)


def builder_channel(cache: Path | None = None) -> Channel:
    """Return the channel, building it when it is not there yet (some 15 seconds).

    Args:
        cache: Directory that holds channels; `.cache` in the repository by default.

    Raises:
        FetchError: The wheels cannot be downloaded.
    """
    cache = cache or REPOSITORY / ".cache"
    root = cache / f"builder-channel-{fingerprint(_HELPERS)}"
    with making(cache / f"{root.name}.lock"):
        if not root.is_dir():
            building = root.with_name(f"{root.name}.building")
            shutil.rmtree(building, ignore_errors=True)
            build_channel(building, _HELPERS)
            building.rename(root)
    return load_channel(root)
