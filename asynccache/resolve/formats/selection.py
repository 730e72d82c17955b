"""What to read from a list with packages for more than one platform, environment or Python."""

from __future__ import annotations

import platform
import re
from dataclasses import field

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.platform import ARCHITECTURES, NOARCH, checked_architecture, current_architecture

_PYTHON = r"3\.\d+(\.\d+((a|b|rc)\d+)?)?"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a list to read.

    Attributes:
        arches: Architectures by their conda names; empty means this machine's, or everything in a list that is not
            divided by platform.
        environment: Environment of a pixi.lock; None means `default`.
        python: Version such as `3.11` or `3.11.7` that wheels of a lock of PyPI packages are chosen for; None means the
            running version.
        extras: Extras of a pylock.toml or uv.lock.
        groups: Dependency groups of a pylock.toml or uv.lock; None means the file's default groups.
        glibc: Minor version of glibc 2 that wheels are chosen for; None as `PythonTarget` says.

    Raises:
        UsageError: An architecture or a Python version is invalid.
    """

    arches: tuple[str, ...] = ()
    environment: str | None = None
    python: str | None = None
    extras: frozenset[str] = field(default_factory=frozenset)
    groups: frozenset[str] | None = None
    glibc: int | None = None

    def __post_init__(self) -> None:
        for arch in self.arches:
            checked_architecture(arch)
        if self.python is not None and not re.fullmatch(_PYTHON, self.python):
            raise UsageError("a Python version is malformed", expected="3.N or 3.N.M", found=repr(self.python))

    @property
    def platforms(self) -> tuple[str, ...]:
        """The selected architectures, each once.

        Raises:
            UsageError: None were given and this machine's has no name.
        """
        return tuple(dict.fromkeys(self.arches)) or (current_architecture(),)

    @property
    def python_version(self) -> str:
        """The selected Python version."""
        return self.python or platform.python_version().rstrip("+")

    def wants_subdir(self, subdir: str) -> bool:
        """Whether a package of an undivided list is selected, by the conda platform in its URL."""
        return not self.arches or subdir not in {*ARCHITECTURES, NOARCH} or subdir in {*self.arches, NOARCH}
