"""Wheels made in code, each file as it is given."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.hydrate.wheel_archive import wheel_parts, write_part


def write_wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, bytes] | None = None,
    *,
    entry_points: str = "",
    tag: str = "py3-none-any",
    executables: tuple[str, ...] = (),
    pure: bool = True,
) -> Path:
    """Write a wheel and return its path.

    Args:
        directory: Existing one.
        name: Distribution name, as in the file name.
        version: Of the distribution.
        files: Path within the wheel -> content; a module of that name when None. `.data` directories are allowed.
        entry_points: Content of `entry_points.txt`.
        tag: Python, ABI and platform tags.
        executables: Paths of `files` that have the executable bit.
        pure: Root-Is-Purelib.
    """
    information = f"{name}-{version}.dist-info"
    members = dict(files if files is not None else {f"{name}/__init__.py": f"VERSION = {version!r}\n".encode()})
    members[f"{information}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    root = "true" if pure else "false"
    members[f"{information}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {root}\nTag: {tag}\n".encode()
    )
    if entry_points:
        members[f"{information}/entry_points.txt"] = entry_points.encode()
    record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in members.items())
    members[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    path = directory / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            info = zipfile.ZipInfo(member, (2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o755 if member in executables else 0o644) << 16
            archive.writestr(info, data)
    return path


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def extract_wheel(
    archive: Path, target: Path, stop: Callable[[], bool] = lambda: False, *, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Unpack a wheel, one part after the other."""
    for part in wheel_parts(archive, target, limits=limits):
        write_part(archive, part, stop)
