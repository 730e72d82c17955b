"""Write `repodata.json` and its compressed forms for a directory of conda packages."""

from __future__ import annotations

import bz2
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

import zstandard

from asynccache.model.digest import digest_file
from asynccache.model.package import Format

_SECTIONS: Final = {Format.TAR_BZ2: "packages", Format.CONDA: "packages.conda"}


def read_index_json(package: Path) -> dict[str, Any]:
    """Return `info/index.json` of a package file."""
    if package.name.endswith(Format.CONDA):
        with zipfile.ZipFile(package) as container:
            name = next(name for name in container.namelist() if name.startswith("info-"))
            with (
                container.open(name) as file,
                zstandard.ZstdDecompressor().stream_reader(file) as stream,
                tarfile.open(fileobj=stream, mode="r|") as archive,
            ):
                return _find_index_json(archive)
    with tarfile.open(package, "r|bz2") as archive:
        return _find_index_json(archive)


def _find_index_json(archive: tarfile.TarFile) -> dict[str, Any]:
    for member in archive:
        if member.name == "info/index.json":
            file = archive.extractfile(member)
            document: dict[str, Any] = json.load(file) if file else {}
            return document
    raise ValueError("a package without info/index.json")


def write_index(channel: Path) -> dict[str, dict[str, Any]]:
    """Index every subdirectory of a channel; return the documents by subdir."""
    (channel / "noarch").mkdir(exist_ok=True)
    documents = {}
    for directory in sorted(path for path in channel.iterdir() if path.is_dir()):
        document: dict[str, Any] = {"info": {"subdir": directory.name}, "packages": {}, "packages.conda": {}}
        for package in sorted(directory.iterdir()):
            for fmt, section in _SECTIONS.items():
                if package.name.endswith(fmt):
                    digests = digest_file(str(package), "md5", "sha256")
                    known = {"md5": digests.md5, "sha256": digests.sha256, "size": digests.size}
                    document[section][package.name] = read_index_json(package) | known
        document |= {"removed": [], "repodata_version": 1}
        text = json.dumps(document, indent=1, sort_keys=True).encode()
        (directory / "repodata.json").write_bytes(text)
        (directory / "current_repodata.json").write_bytes(text)
        (directory / "repodata.json.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(text))
        (directory / "repodata.json.bz2").write_bytes(bz2.compress(text))
        documents[directory.name] = document
    return documents
