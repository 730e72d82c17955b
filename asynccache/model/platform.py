"""Architectures by their conda names, and which one this machine is (contract, section 0)."""

from __future__ import annotations

import os
from typing import Final

from asynccache.errors import UsageError

ARCHITECTURES: Final = ("linux-64", "linux-32", "linux-aarch64", "osx-64", "osx-32", "osx-arm64")
NOARCH: Final = "noarch"


def architecture(system: str, machine: str) -> str:
    """Name the architecture of a machine.

    Args:
        system: As `os.uname().sysname` gives it.
        machine: As `os.uname().machine` gives it.

    Raises:
        UsageError: No environment can be cached for this system.

    >>> architecture("Linux", "arm64"), architecture("Darwin", "x86_64")
    ('linux-aarch64', 'osx-64')
    """
    width = "64" if machine.endswith("64") else "32"
    if system == "Linux":
        return "linux-aarch64" if machine in {"aarch64", "arm64"} else f"linux-{width}"
    if system == "Darwin":
        return "osx-arm64" if machine == "arm64" else f"osx-{width}"
    raise UsageError("this operating system has no architecture name", expected="Linux or macOS", found=system)


def current_architecture() -> str:
    """Return the architecture of this machine.

    Raises:
        UsageError: The machine runs neither Linux nor macOS.
    """
    here = os.uname()  # `platform` says the same, and takes longer to import than a small command does to run
    return architecture(here.sysname, here.machine)


def checked_architecture(text: str) -> str:
    """Return an architecture's name, or refuse an unknown one.

    Raises:
        UsageError: `text` is not one of `ARCHITECTURES`.
    """
    if text not in ARCHITECTURES:
        raise UsageError("an architecture has an unknown name", expected=", ".join(ARCHITECTURES), found=repr(text))
    return text


def wanted_architecture(text: str | None) -> str:
    """Return the requested architecture: this machine's if none is given.

    Raises:
        UsageError: There is none of that name.
    """
    return current_architecture() if text is None else checked_architecture(text)
