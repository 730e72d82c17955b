"""Files of requirements, by their kind."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePath
from typing import Final

from asynccache.resolve.environment_yml import read_environment_yml
from asynccache.resolve.place import Place
from asynccache.resolve.pyproject_toml import read_pyproject_toml
from asynccache.resolve.requirements import Requirements
from asynccache.resolve.requirements_txt import read_requirements_txt


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


_READERS: Final[dict[RequirementFile, Callable[[str, Place], Requirements]]] = {
    RequirementFile.REQUIREMENTS_TXT: read_requirements_txt,
    RequirementFile.ENVIRONMENT_YML: read_environment_yml,
    RequirementFile.PYPROJECT_TOML: read_pyproject_toml,
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
    return _READERS[kind or RequirementFile.of(name)](text, Place(name))
