"""A conda channel of tiny packages for two platforms, which can be solved and cached in no time."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asynccache.model.package import Format
from tests.support.channel_index import write_index
from tests.support.conda_package import Member, Metadata, write_package

PLATFORMS: Final = ("linux-64", "osx-arm64")
_PURE: Final = (
    ("app", "1.0", ("lib >=1", "python")),
    ("app", "2.0", ("lib >=2", "python")),
    ("lib", "1.5", ("python",)),
    ("lib", "2.5", ("python",)),
    ("extra", "0.3", ("lib", "python")),
    ("picky", "1.0", ("lib <2", "python")),
    ("requests", "2.31.0", ("python",)),
    ("boto3", "1.34.0", ("python",)),
    ("pip", "24.0", ("python", "setuptools", "wheel")),
    ("setuptools", "80.0", ("python",)),
    ("setuptools", "82.0", ("python",)),
    ("tomli", "2.0", ("python",)),
    ("uv", "0.5", ()),
    ("wheel", "0.45", ("python",)),
)


def write_tiny_channel(root: Path, *, payload: int = 2000, more: Iterable[str] = ()) -> Path:
    """Write the channel; return its directory.

    Args:
        root: A new directory.
        payload: Bytes in each package.
        more: Names of further packages, of a version that meets every request.
    """
    for platform in (*PLATFORMS, "noarch"):
        (root / platform).mkdir(parents=True)
    for name, version, depends in _PURE:
        meta = Metadata(name=name, version=version, build="py_0", depends=depends, noarch="python")
        _write(root / "noarch", meta, payload)
    for name in {*more} - {name for name, _version, _depends in _PURE}:
        _write(root / "noarch", Metadata(name=name, version="99.0", build="0", noarch="generic"), payload)
    for platform in PLATFORMS:
        for version in ("3.10.14", "3.11.9"):
            _write(root / platform, Metadata(name="python", version=version, build="h1_0", subdir=platform), payload)
        _write(root / platform, Metadata(name="native", version="1.1", build="h2_0", subdir=platform), payload)
    _write(root / "linux-64", Metadata(name="linux-only", version="1.0", build="h0_0", subdir="linux-64"), payload)
    write_index(root)
    return root


def _write(directory: Path, metadata: Metadata, payload: int) -> None:
    data = random.Random(metadata.stem).randbytes(payload)  # not compressible, so that a slow server takes its time
    fmt = Format.CONDA if metadata.version.endswith(("0", "5")) else Format.TAR_BZ2
    write_package(directory, metadata, [Member(f"share/{metadata.stem}", data)], (fmt,))
