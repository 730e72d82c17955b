"""Empty wheels that represent packages an environment has already, so that uv resolves around them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_MOMENT = (2024, 1, 1, 0, 0, 0)


def write_placeholders(directory: Path, versions: Mapping[str, str]) -> dict[str, str]:
    """Write one wheel per package and return the constraints that make uv use them, by normalised name.

    Such a package has no dependencies, since they are installed already. A package whose version is not valid for PyPI
    is left out.

    Args:
        directory: An existing directory.
        versions: Name -> version.
    """
    constraints: dict[str, str] = {}
    for name, text in versions.items():
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        normal = canonicalize_name(name)
        stem = f"{normal.replace('-', '_')}-{version}"
        path = directory / f"{stem}-py3-none-any.whl"
        members = {
            "METADATA": f"Metadata-Version: 2.1\nName: {normal}\nVersion: {version}\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: asynccache\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{member}", _MOMENT), content)
        constraints[normal] = f"{normal} @ {path.as_uri()}"
    return constraints
