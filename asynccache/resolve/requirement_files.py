"""Files of requirements, by their kind."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePath
from typing import Final

from asynccache.resolve.place import Place
from asynccache.resolve.requirements import Requirements


class RequirementFile(StrEnum):
    """A kind of file that requirements are written in."""

    REQUIREMENTS_TXT = "requirements.txt"
    ENVIRONMENT_YML = "environment.yml"
    PYPROJECT_TOML = "pyproject.toml"

    @classmethod
    def of(cls, name: str) -> RequirementFile:
        """Tell the kind by a file's name.

        >>> RequirementFile.of("ci/environment.prod.yaml"), RequirementFile.of("requirements-dev.in").value
        (<RequirementFile.ENVIRONMENT_YML: 'environment.yml'>, 'requirements.txt')
        """
        suffix = PurePath(name).suffix.lower()
        if suffix in {".yml", ".yaml"}:
            return cls.ENVIRONMENT_YML
        return cls.PYPROJECT_TOML if suffix == ".toml" else cls.REQUIREMENTS_TXT


# Loaded when a file of the kind is read: each brings a parser of its own.
_READERS: Final = {
    RequirementFile.REQUIREMENTS_TXT: "requirements_txt",
    RequirementFile.ENVIRONMENT_YML: "environment_yml",
    RequirementFile.PYPROJECT_TOML: "pyproject_toml",
}


def read_requirements(name: str, text: str, kind: RequirementFile | None = None) -> Requirements:
    """Read a file of requirements.

    Args:
        name: Its path, which errors name; `-` for standard input.
        text: Its content.
        kind: What it is; None: as its name says, requirements.txt for a name that says nothing.

    Raises:
        UsageError: It is malformed or asks for what is not supported; the message names file, line and reason.
    """
    reader = _READERS[kind or RequirementFile.of(name)]
    module = importlib.import_module(f"asynccache.resolve.{reader}")
    read: Callable[[str, Place], Requirements] = getattr(module, f"read_{reader}")
    return read(text, Place(name))
