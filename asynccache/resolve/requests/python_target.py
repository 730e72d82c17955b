"""The target machine for wheels: its environment markers and its wheel tags, best first.

For this machine's architecture the C library's version is this machine's; for another one it is assumed to be glibc
2.28 or macOS 14, which manylinux_2_28 and most macOS wheels run on. musl is not supported.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from asynccache.errors import UsageError
from asynccache.model.platform import current_architecture

if TYPE_CHECKING:
    from packaging.tags import Tag

_ASSUMED_GLIBC: Final = (2, 28)
_ASSUMED_MACOS: Final = (14, 0)
# Machine names as Python gives them, by architecture.
_MACHINES: Final = {
    "linux-64": "x86_64",
    "linux-32": "i686",
    "linux-aarch64": "aarch64",
    "osx-64": "x86_64",
    "osx-arm64": "arm64",
}
# Names that manylinux wheels had before PEP 600, by minor version of glibc 2, and the machines they exist for.
_LEGACY_MANYLINUX: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_GLIBC_MINOR: Final = {"x86_64": 5, "i686": 5, "aarch64": 17}


@dataclass(frozen=True)
class PythonTarget:
    """A CPython on an architecture.

    Attributes:
        arch: conda name of the architecture.
        version: `3.N` or `3.N.M`.
        glibc: Minor version of the machine's glibc 2; None for the default of this module.

    Raises:
        UsageError: No wheels are made for the architecture.
    """

    arch: str
    version: str
    glibc: int | None = None

    def __post_init__(self) -> None:
        if self.arch not in _MACHINES:
            raise UsageError("no wheels are made for an architecture", expected=", ".join(_MACHINES), found=self.arch)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def machine(self) -> str:
        """Machine name as Python gives it."""
        return _MACHINES[self.arch]

    @property
    def full_version(self) -> str:
        """The version with a micro part; `.0` if none was given."""
        return self.version if self.version.count(".") > 1 else f"{self.version}.0"

    @cached_property
    def markers(self) -> dict[str, str]:
        """Values of the environment marker variables."""
        linux = self.arch.startswith("linux")
        return {
            "implementation_name": "cpython",
            "implementation_version": self.full_version,
            "os_name": "posix",
            "platform_machine": _MACHINES[self.arch],
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux" if linux else "Darwin",
            "platform_version": "",
            "python_full_version": self.full_version,
            "python_version": ".".join(map(str, self.release)),
            "sys_platform": "linux" if linux else "darwin",
        }

    @cached_property
    def ranks(self) -> dict[Tag, int]:
        """The usable wheel tags, best first, each with its rank; 0 is the best."""
        from packaging.tags import compatible_tags, cpython_tags  # noqa: PLC0415 - markers do without

        platforms = list(self._platforms())
        interpreter = "cp" + "".join(map(str, self.release))
        tags = [
            *cpython_tags(self.release, abis=[interpreter], platforms=platforms),
            *compatible_tags(self.release, interpreter=interpreter, platforms=platforms),
        ]
        return {tag: rank for rank, tag in enumerate(dict.fromkeys(tags))}

    @property
    def glibc_minor(self) -> int:
        """Minor version of glibc 2; means nothing on macOS."""
        if self.glibc is not None:
            return self.glibc
        here = self.arch == current_architecture()
        return (_version(platform.libc_ver()[1], _ASSUMED_GLIBC) if here else _ASSUMED_GLIBC)[1]

    def _platforms(self) -> Iterator[str]:
        machine = _MACHINES[self.arch]
        if self.arch.startswith("osx"):
            here = self.arch == current_architecture()
            from packaging.tags import mac_platforms  # noqa: PLC0415 - as above

            version = _version(platform.mac_ver()[0], _ASSUMED_MACOS) if here else _ASSUMED_MACOS
            yield from mac_platforms(version, machine)
            return
        for minor in range(self.glibc_minor, _OLDEST_GLIBC_MINOR[machine] - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if minor in _LEGACY_MANYLINUX:
                yield f"{_LEGACY_MANYLINUX[minor]}_{machine}"
        yield f"linux_{machine}"


def _version(text: str, assumed: tuple[int, int]) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else assumed
