"""Two forms of a package are the same when an environment gets the same of them, and only then."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.archive import compare_archives, transmute
from asynccache.errors import IntegrityError, TransmuteError
from asynccache.model.digest import digest_file
from asynccache.model.package import Format
from tests.support.conda_package import Member, Metadata, write_package

Change = Callable[[dict[str, tarfile.TarInfo], dict[str, bytes]], None]
STEM = "p0-1.0-0"


def entry(name: str, **about: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.mode = 0o644
    for key, value in about.items():
        setattr(found, key, value)
    return found


def archive(path: Path, change: Change | None = None) -> Path:
    """Write a `.tar.bz2` package, changed."""
    contents = {"info/index.json": json.dumps({"name": "p0"}).encode(), "bin/p0": b"#!/bin/sh\n", "lib/data": b"12345"}
    entries = {name: entry(name) for name in contents}
    entries["bin/p0"].mode = 0o755
    entries["lib/again"] = entry("lib/again", type=tarfile.LNKTYPE, linkname="lib/data")
    entries["lib/link"] = entry("lib/link", type=tarfile.SYMTYPE, linkname="data", mode=0o777)
    if change is not None:
        change(entries, contents)
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:bz2", format=tarfile.GNU_FORMAT) as tar:
        for name, each in entries.items():
            each.size = len(contents.get(name, b"")) if each.isreg() else 0
            tar.addfile(each, io.BytesIO(contents.get(name, b"")))
    return path


def pair(tmp_path: Path, change: Change | None = None) -> tuple[Path, Path]:
    """Return a published archive and a derived archive of the changed one."""
    published = archive(tmp_path / "published" / (STEM + ".tar.bz2"))
    other = archive(tmp_path / "other" / (STEM + ".tar.bz2"), change)
    derived = tmp_path / (STEM + ".conda")
    transmute(other, derived)
    return published, derived


def content(_entries: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    contents["lib/data"] = b"54321"


def index(_entries: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    contents["info/index.json"] = b'{"name": "p1"}'


def runs(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["lib/data"].mode = 0o755


def set_user(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["bin/p0"].mode = 0o4755


def writable(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["bin/p0"].mode = 0o757


def target(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["lib/link"].linkname = "again"


def added(entries: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    entries["bin/.p0-post-link.sh"], contents["bin/.p0-post-link.sh"] = entry("bin/.p0-post-link.sh"), b"true"


def missing(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    del entries["lib/again"]


def link_for_file(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["lib/again"] = entry("lib/again", type=tarfile.SYMTYPE, linkname="data")


def empty_file(entries: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    entries["lib/empty"], contents["lib/empty"] = entry("lib/empty"), b""


def other_link(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["lib/again"].linkname = "bin/p0"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (content, "lib/"),
        (index, "info/index.json"),
        (runs, "lib/"),
        (set_user, "bin/p0"),
        (writable, "bin/p0"),
        (target, "lib/link"),
        (added, "bin/.p0-post-link.sh"),
        (missing, "lib/again"),
        (link_for_file, "lib/again"),
        (empty_file, "lib/empty"),
        (other_link, "lib/again"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_an_environment_would_get_else_is_found_and_named(tmp_path: Path, change: Change, where: str) -> None:
    published, derived = pair(tmp_path, change)
    with pytest.raises(IntegrityError, match="does not hold what") as caught:
        compare_archives(published, derived)
    assert where in str(caught.value.found)


def as_another_writer(entries: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    """Other owners, times and order, a directory more, a file for a hard link, writable by fewer."""
    for each in entries.values():
        each.uid, each.uname, each.mtime = 1234, "somebody", 1_700_000_000
    entries["lib/again"], contents["lib/again"] = entry("lib/again"), contents["lib/data"]
    entries["lib"] = entry("lib", type=tarfile.DIRTYPE, mode=0o755)
    for name in ("lib", "bin/p0"):
        entries[name] = entries.pop(name)


def test_what_another_program_made_of_it_is_the_same(tmp_path: Path) -> None:
    published, derived = pair(tmp_path, as_another_writer)
    receipt = compare_archives(published, derived)
    assert receipt.source == digest_file(str(published), "md5", "sha256")
    assert receipt.derived == digest_file(str(derived), "md5", "sha256")
    assert (receipt.source_format, receipt.derived_format, receipt.verified) == (Format.TAR_BZ2, Format.CONDA, True)


@pytest.mark.parametrize("form", [Format.TAR_BZ2, Format.CONDA])
def test_both_ways_are_compared(tmp_path: Path, form: Format) -> None:
    members = [Member("bin/p0", b"#!/bin/sh\n", executable=True), Member("lib/link", symlink="data")]
    (published,) = write_package(tmp_path, Metadata(name="p0", version="1.0", build="0"), members, [form])
    made = tmp_path / "made" / published.name.replace(form, form.other)
    made.parent.mkdir()
    transmute(published, made)
    assert compare_archives(published, made).members == 6


def sparse(entries: dict[str, tarfile.TarInfo], _contents: dict[str, bytes]) -> None:
    entries["lib/sparse"] = entry("lib/sparse", type=tarfile.GNUTYPE_SPARSE)


def test_a_sparse_file_is_not_taken_for_the_same(tmp_path: Path) -> None:
    published, derived = pair(tmp_path, sparse)
    with pytest.raises(TransmuteError, match="sparse"):
        compare_archives(published, derived)
