"""Other tools see in our archives what was in their source, and we see in theirs what they do."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from asynccache.archive import check, transmute
from asynccache.archive.member import Component, MemberType
from tests.archive import tar_builder as tb
from tests.archive.members import members
from tests.archive.tar_builder import zstd

STEM = "demo-1.0-0"
FILES = {
    "bin/run": (b"#!/bin/sh\necho\n", 0o755),
    "lib/data.bin": (bytes(range(256)) * 4000, 0o644),
    "lib/empty": (b"", 0o644),
    "share/naïve ☃.txt": (b"snow", 0o600),
    "share/" + "/".join(["long-directory-name"] * 9) + "/file": (b"deep", 0o644),
}
LINKS = {"lib/link": "data.bin", "lib/dangling": "not-there", "share/up": "../bin/run"}


def package(tmp_path: Path, form: int = tarfile.PAX_FORMAT) -> Path:
    """Return a `.tar.bz2` package written by Python's tarfile, with what conda's tools need to see in it."""
    paths = [{"_path": p, "path_type": "hardlink", "sha256": hashlib.sha256(d).hexdigest(), "size_in_bytes": len(d)}
             for p, (d, _) in FILES.items()]  # fmt: skip
    paths += [{"_path": p, "path_type": "softlink"} for p in LINKS]
    info = {
        "info/index.json": json.dumps(tb.INDEX).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "\n".join([*FILES, *LINKS]).encode(),
    }
    path = tmp_path / f"{STEM}.tar.bz2"
    with tarfile.open(path, "w:bz2", format=form) as archive:
        for name, (data, mode) in {**{n: (d, 0o644) for n, d in info.items()}, **FILES}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), mode, 1_700_000_000
            archive.addfile(member, io.BytesIO(data))
        for name, target in LINKS.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mtime = tarfile.SYMTYPE, target, 1_700_000_000
            archive.addfile(member)
    return path


def tree(directory: Path) -> dict[str, object]:
    """Return what lies below a directory: content and mode of files, targets of links."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode & 0o700)
    return found


def unpacked_by_tarfile(path: Path, directory: Path) -> Path:
    directory.mkdir()
    with tarfile.open(path) as archive:
        archive.extractall(directory, filter="tar")
    return directory


@pytest.fixture(params=[tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return package(tmp_path, request.param)


@pytest.fixture
def derived(source: Path, tmp_path: Path) -> Path:
    path = tmp_path / f"{STEM}.conda"
    transmute(source, path)
    return path


@pytest.fixture
def back(derived: Path, tmp_path: Path) -> Path:
    path = tmp_path / "back" / f"{STEM}.tar.bz2"
    path.parent.mkdir()
    transmute(derived, path, threads=2)
    return path


@pytest.fixture
def expected(source: Path, tmp_path: Path) -> dict[str, object]:
    return tree(unpacked_by_tarfile(source, tmp_path / "expected"))


def test_tarfile_reads_what_went_both_ways(back: Path, expected: dict[str, object], tmp_path: Path) -> None:
    assert tree(unpacked_by_tarfile(back, tmp_path / "out")) == expected


def test_zipfile_and_zstd_read_our_conda_file(derived: Path) -> None:
    with zipfile.ZipFile(derived) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["metadata.json", f"pkg-{STEM}.tar.zst", f"info-{STEM}.tar.zst"]
        for component in ("pkg", "info"):
            raw = zstd.decompress(archive.read(f"{component}-{STEM}.tar.zst"))
            assert len(raw) % 10240 == 0
            with tarfile.open(fileobj=io.BytesIO(raw)) as inner:
                assert all((m.name.startswith("info/")) == (component == "info") for m in inner)


def test_we_see_the_members_that_tarfile_sees(source: Path) -> None:
    types = {b"0": MemberType.FILE, b"2": MemberType.SYMBOLIC_LINK}
    with tarfile.open(source) as archive:
        theirs = [(os.fsencode(m.name), types[m.type], m.mode, m.size, os.fsencode(m.linkname)) for m in archive]
    ours = [(m.name, m.type, m.mode, m.size, m.linkname) for m in (r.member for r in members(source))]
    assert ours == theirs


def test_bsdtar_reads_both(derived: Path, back: Path, expected: dict[str, object], tmp_path: Path) -> None:
    bsdtar = shutil.which("bsdtar")
    if bsdtar is None:
        pytest.skip("bsdtar is not installed")
    out = tmp_path / "bsdtar"
    out.mkdir()
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([bsdtar, "-xf", back, "-C", out], check=True, env=environment)
    assert tree(out) == expected
    parts = tmp_path / "parts"
    parts.mkdir()
    subprocess.run([bsdtar, "-xf", derived, "-C", parts], check=True, env=environment)
    inner = tmp_path / "inner"
    inner.mkdir()
    for part in parts.glob("*.tar.zst"):
        (parts / "part.tar").write_bytes(zstd.decompress(part.read_bytes()))
        subprocess.run([bsdtar, "-xf", parts / "part.tar", "-C", inner], check=True, env=environment)
    assert tree(inner) == expected


def test_conda_package_handling_extracts_both(
    derived: Path, back: Path, expected: dict[str, object], tmp_path: Path
) -> None:
    api = pytest.importorskip("conda_package_handling.api")
    for number, path in enumerate((derived, back)):
        api.extract(str(path), str(tmp_path / f"cph{number}"))
        assert tree(tmp_path / f"cph{number}") == expected


def test_conda_package_handling_and_we_read_each_other(
    source: Path, expected: dict[str, object], tmp_path: Path
) -> None:
    api = pytest.importorskip("conda_package_handling.api")
    directory = tmp_path / "theirs"
    directory.mkdir()
    api.transmute(str(source), ".conda", out_folder=str(directory), zstd_compress_level=3)
    theirs = directory / f"{STEM}.conda"
    assert check(theirs).members >= len(expected)
    again = tmp_path / "again" / source.name
    again.parent.mkdir()
    transmute(theirs, again)
    assert tree(unpacked_by_tarfile(again, tmp_path / "out")) == expected


def test_conda_package_streaming_sees_the_same_components(derived: Path, source: Path) -> None:
    streaming = pytest.importorskip("conda_package_streaming.package_streaming")
    ours = list(members(derived))
    for component in Component:
        with derived.open("rb") as file:
            theirs = [
                (os.fsencode(m.name), m.size)
                for _, m in streaming.stream_conda_component(derived.name, file, component.value)
            ]
        assert theirs == [(r.member.name, r.member.size) for r in ours if r.archive is component]


def test_conda_package_streaming_and_we_split_alike(source: Path, derived: Path, tmp_path: Path) -> None:
    module = pytest.importorskip("conda_package_streaming.transmute")
    directory = tmp_path / "theirs"
    directory.mkdir()
    module.transmute(str(source), str(directory))
    theirs = {(r.archive, r.member.name, r.member.mode, r.sha256) for r in members(directory / derived.name)}
    assert theirs == {(r.archive, r.member.name, r.member.mode, r.sha256) for r in members(derived)}


def test_rattler_extracts_both(derived: Path, back: Path, expected: dict[str, object], tmp_path: Path) -> None:
    package_streaming = pytest.importorskip("rattler.package_streaming")
    rattler = pytest.importorskip("rattler")
    client = rattler.networking.Client()

    async def extract(path: Path, directory: Path) -> None:
        await package_streaming.download_and_extract(client, path.as_uri(), str(directory))

    for number, path in enumerate((derived, back)):
        directory = tmp_path / f"rattler{number}"
        asyncio.run(extract(path, directory))
        assert tree(directory) == expected
