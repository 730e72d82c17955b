"""A conda channel for Metaflow flows: several Pythons, what Metaflow needs with a datastore, projects in two versions.

Each Python brings its own compiled packages; what is pure is there once. Found again below `.cache`, as a channel of
`tests.support.channel` is, and built once by whichever process needs it first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from tests.support.channel import Channel, Profile, build_channel, download_wheels, fingerprint, load_channel
from tests.support.channel_index import write_index
from tests.support.conda_package import write_package
from tests.support.interpreters import find_interpreter
from tests.support.metaflow_venv import NODE
from tests.support.python_package import Interpreter, describe_interpreter
from tests.support.shared import making
from tests.support.testdata import REPOSITORY
from tests.support.wheel_package import wheel_package

PYTHONS: Final = ("3.10", "3.12")
_PROJECTS: Final = ("six==1.17.0", "tzdata")
_OLDER: Final = ("six==1.16.0",)


def flow_channel(pythons: tuple[str, ...] = PYTHONS, cache: Path | None = None, datastore: str = "s3") -> Channel:
    """Return the channel, building it when it is not there yet (some 20 seconds).

    Args:
        pythons: Versions of the interpreters that it has, such as "3.10".
        cache: Directory that holds channels; `.cache` in the repository by default.
        datastore: Type of the datastore that steps have.

    Raises:
        LookupError: An interpreter is not on this machine.
        FetchError: The wheels cannot be downloaded.
    """
    paths = [find_interpreter(version) for version in pythons]
    if None in paths:
        raise LookupError(f"not all of Python {', '.join(pythons)} are on this machine")
    profile = Profile((*NODE[datastore], *_PROJECTS), many_files=10, large_file_mib=1)
    parts = [fingerprint(profile, path) for path in paths]
    key = hashlib.sha256(" ".join([*parts, *_OLDER]).encode()).hexdigest()[:16]
    cache = cache or REPOSITORY / ".cache"
    root = cache / f"flow-channel-{key}"
    with making(cache / f"{root.name}.lock"):
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="flow-channel-building-") as aside:
                built = Path(aside) / "channel"
                for number, path in enumerate(paths):
                    part = Path(aside) / str(number)
                    build_channel(part, profile, python=path)
                    _add(part, built)
                _add_older(built, describe_interpreter(str(paths[0])), Path(aside) / "wheels")
                write_index(built)
                built.rename(root)
    return load_channel(root)


def _add_older(channel: Path, interpreter: Interpreter, wheels: Path) -> None:
    wheels.mkdir()
    for wheel in download_wheels(_OLDER, wheels, interpreter):
        metadata, members = wheel_package(wheel, interpreter, current_architecture())
        write_package(channel / metadata.subdir, metadata, members, (Format.CONDA,))


def _add(part: Path, channel: Path) -> None:
    for file in part.glob("*/*"):
        target = channel / file.parent.name / file.name
        if file.name.endswith((".conda", ".tar.bz2")) and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)
            except OSError:
                shutil.copy2(file, target)
