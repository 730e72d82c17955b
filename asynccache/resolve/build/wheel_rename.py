"""Give a locally built wheel another version, so that it cannot be mistaken for a published one (contract, 3.3)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from asynccache.errors import BuildError

_VERSION: Final = re.compile(rb"^Version:[^\r\n]*", re.MULTILINE | re.IGNORECASE)
_LETTERS: Final = str.maketrans("abcdef", "012345")
_LABEL: Final = "mfbuild"
_SIGNATURES: Final = {"RECORD", "RECORD.jws", "RECORD.p7s"}


def built_version(version: Version, digest: str) -> Version:
    """Return the version that a wheel gets.

    Args:
        version: As built.
        digest: sha256 of the wheel as built; provides the number if the version has none.

    >>> str(built_version(Version("1.0.0"), "7c638811" + "0" * 56))
    '1.0.0.dev72638811+mfbuild'
    >>> str(built_version(Version("1!2.0rc1.dev3+local"), "0" * 64))
    '1!2.0rc1.dev3+local.mfbuild'
    """
    number = version.dev if version.dev is not None else int(digest[:8].translate(_LETTERS))
    text = f"{version.epoch}!" if version.epoch else ""
    text += ".".join(map(str, version.release))
    text += "".join(map(str, version.pre)) if version.pre else ""
    text += f".post{version.post}" if version.post is not None else ""
    return Version(f"{text}.dev{number}+{version.local}_{_LABEL}" if version.local else f"{text}.dev{number}+{_LABEL}")


def rename_wheel(wheel: Path, directory: Path) -> Path:
    """Write the wheel with its new version into another directory and return its path. Blocking.

    Raises:
        BuildError: It is not a wheel.
    """
    try:
        version = parse_wheel_filename(wheel.name)[1]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        new = built_version(version, digest)
        name, _, rest = wheel.name.split("-", 2)
        target = directory / f"{name}-{new}-{rest}"
        with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as result:
            _copy(source, result, str(new))
    except (InvalidWheelFilename, InvalidVersion, zipfile.BadZipFile, KeyError, ValueError) as exc:
        raise BuildError(f"{wheel.name}, which was built here, is no wheel that can be read ({exc})") from exc
    return target


def _copy(source: zipfile.ZipFile, result: zipfile.ZipFile, version: str) -> None:
    information = next(name.split("/")[0] for name in source.namelist() if name.split("/")[0].endswith(".dist-info"))
    stem = information.removesuffix(".dist-info")
    name = stem.rpartition("-")[0]
    moved = {f"{stem}{end}": f"{name}-{version}{end}" for end in (".dist-info", ".data")}
    rows: list[tuple[str, str, int | str]] = []
    for entry in source.infolist():
        first, slash, rest = entry.filename.partition("/")
        if entry.is_dir() or (first == information and rest in _SIGNATURES):
            continue
        data = source.read(entry)
        if first == information and rest == "METADATA":
            data = _VERSION.sub(b"Version: " + version.encode(), data, count=1)
        path = moved.get(first, first) + slash + rest
        _write(result, path, data, entry.date_time, entry.external_attr)
        encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append((path, f"sha256={encoded}", len(data)))
    record = f"{moved[information]}/RECORD"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
    _write(result, record, text.getvalue().encode(), source.getinfo(f"{information}/WHEEL").date_time, 0o644 << 16)


def _write(
    wheel: zipfile.ZipFile, path: str, data: bytes, moment: tuple[int, int, int, int, int, int], attributes: int
) -> None:
    info = zipfile.ZipInfo(path, moment)
    info.external_attr = attributes
    info.compress_type = zipfile.ZIP_DEFLATED
    wheel.writestr(info, data)
