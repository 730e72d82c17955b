"""Names of packages on conda and on PyPI: by default the same, normalised; a few differ, and a file can name more.

The built-in table has conda packages whose PyPI project has another name. The setting `name_mapping` names a JSON file
(conda name -> PyPI name, or null for a package that is not a PyPI project).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from asynccache.errors import ConfigurationError
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import DistributionName, parse_stem
from asynccache.node.json_text import read_json

# conda-forge name -> PyPI project; None: it shares the name of a project but is not it.
BUILT_IN: Final[Mapping[str, str | None]] = {
    "brotli-python": "brotli",
    "conda": None,
    "dask-core": "dask",
    "graphviz": None,
    "lightning-base": "lightning",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "pyqt": "pyqt5",
    "pytables": "tables",
    "python": None,
    "python-abi": None,
    "python-tzdata": "tzdata",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ray-core": "ray",
    "ray-default": "ray",
    "requests-base": "requests",
    "sqlite": None,
    "tensorflow-base": "tensorflow",
    "tzdata": None,
    "uvicorn-standard": "uvicorn",
    "zstd": None,
}


def read_name_mapping(path: Path | None) -> dict[str, str | None]:
    """Return conda name (normalised) -> PyPI name; the user's file overrides the built-in table.

    Raises:
        ConfigurationError: The file cannot be read or is not such a map.
    """
    table: dict[str, str | None] = {canonicalize_name(name): project for name, project in BUILT_IN.items()}
    if path is None:
        return table
    try:
        document = read_json(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"not JSON: {exc}"
        raise ConfigurationError(f"name_mapping {path} cannot be read ({reason})") from exc
    if not isinstance(document, dict) or not all(
        value is None or isinstance(value, str) for value in document.values()
    ):
        raise ConfigurationError(
            f"name_mapping {path} is malformed", expected='a map such as {"pytorch": "torch", "sqlite": null}'
        )
    for name, project in document.items():
        table[canonicalize_name(name)] = canonicalize_name(project) if project else None
    return table


def provided_by_conda(
    packages: Iterable[EnvironmentPackage], mapping: Mapping[str, str | None]
) -> dict[str, DistributionName]:
    """Return what conda packages provide of PyPI: normalised project name -> the conda package.

    A conda package counts by its name whether or not it contains Python code: one that only shares its name with a
    project has to be listed in the mapping.
    """
    provided: dict[str, DistributionName] = {}
    for package in packages:
        if package.kind != "conda":
            continue
        name = parse_stem("conda", package.filename)
        normal = canonicalize_name(name.name)
        project = mapping.get(normal, normal)
        if project is not None and not name.name.startswith(("_", "lib")):
            provided.setdefault(canonicalize_name(project), name)
    return provided
