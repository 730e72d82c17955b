"""Wheels without content that stand for packages an environment has already, so that uv chooses around them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_MOMENT = (2024, 1, 1, 0, 0, 0)


def write_placeholders(directory: Path, versions: Mapping[str, str]) -> dict[str, str]:
    """Write one wheel a package and return the constraints that make uv take them, by normalised name.

    Such a package depends on nothing: what it needs is there already. A version that PyPI's rules cannot read binds
    nothing and is left out.

    Args:
        directory: Existing one.
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
