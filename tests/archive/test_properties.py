"""Any tree of members goes both ways and comes back exactly."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.archive import transmute
from asynccache.archive.member import Component
from asynccache.archive.root import checked_path
from asynccache.errors import HostileArchiveError
from tests.archive import tar_builder as tb
from tests.archive.members import members

SEGMENT = st.one_of(
    st.sampled_from([b"lib", b"info", b"a b", b"x" * 90, b"\xff\xfe", "ünï☃".encode(), b"-n", b"CON", b"new\nline"]),
    st.binary(min_size=1, max_size=12).filter(lambda s: not set(s) & {0, 0x2F} and s not in {b".", b".."}),
)
PATH = st.lists(SEGMENT, min_size=1, max_size=5).map(b"/".join)
CONTENT = st.one_of(st.binary(max_size=1500), st.integers(0, 3).map(lambda n: bytes(512 * n)))
NUMBER = st.integers(0, 0o7777)


class Part(bytes):
    """Blocks whose repr is short."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {bytes(self[:30])!r}>"


@st.composite
def trees(draw: st.DrawFn) -> list[Part]:
    """Draw the blocks of a package's members, each with headers of some kind."""
    parts: list[bytes] = []
    files: list[bytes] = []
    no_directories: set[bytes] = {b"info/index.json"}
    taken: set[bytes] = {b"info/index.json", b"info"}
    for path in draw(st.lists(PATH, max_size=12, unique=True)):
        above = [path[:i] for i, byte in enumerate(path) if byte == 0x2F]
        if path in taken or no_directories & set(above):
            continue
        kind = draw(st.sampled_from(["file", "file", "directory", "symlink", "hardlink", "sparse", "global"]))
        taken |= {path, *above}
        if kind != "directory":
            no_directories.add(path)
        spelling = draw(st.sampled_from([b"", b"./"])) + path
        named, short = spelled(draw, spelling)
        same = [f for f in files if f.startswith(b"info/") == path.startswith(b"info/") and len(f) <= 100]
        if kind == "symlink":
            target = draw(st.one_of(SEGMENT, st.just(b"."), st.just(b"\xff" * 150)))
            long_target = tb.gnu_long(target, b"K") if len(target) > 100 and not named else b""
            if long_target or len(target) <= 100:
                parts.append(named + long_target + tb.symlink(short, target))
        elif kind == "hardlink" and same:
            parts.append(named + tb.hardlink(short, draw(st.sampled_from(same))))
        elif kind == "directory":
            parts.append(named + tb.directory(short))
        elif kind == "sparse":
            extended = draw(st.integers(0, 2))
            parts.append(tb.gnu_long(spelling) + tb.gnu_sparse(short, draw(CONTENT), 10**6, extended=extended))
            files.append(path)
        else:
            if kind == "global":
                parts.append(tb.pax({b"comment": draw(st.binary(max_size=20))}, b"g"))
            fields = {"mode": draw(NUMBER), "mtime": draw(st.integers(0, (1 << 33) - 1))}
            parts.append(named + tb.file(short, draw(CONTENT), **fields))
            files.append(path)
    return [Part(part) for part in parts]


def spelled(draw: st.DrawFn, name: bytes) -> tuple[bytes, bytes]:
    """Return extended headers that give a name, and what is left of it for the header itself."""
    ways = ["gnu", "pax"] + (["plain"] if len(name) <= 100 else [])
    way = draw(st.sampled_from(ways))
    if way == "gnu":
        return tb.gnu_long(name), name[:100]
    if way == "pax":
        return tb.pax({b"mtime": b"1.5", b"path": name, b"VENDOR.key": draw(st.binary(max_size=30))}), name[:100]
    return b"", name


def split(path: Path) -> list[tuple[object, ...]]:
    records = list(members(path))
    # a global comment reaches the members behind it, and those are others when the order of the two parts changes
    return [
        (
            replace(r.member, globals={k: v for k, v in r.member.globals.items() if k != b"comment"}),
            r.sha256,
            r.header_sha256,
        )
        for c in Component
        for r in records
        if r.member.component is c
    ]


@settings(max_examples=40, deadline=None)
@given(trees(), st.integers(1, 2))
def test_any_tree_comes_back_exactly(parts: list[Part], threads: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = tb.tar_bz2(Path(name), *parts)
        derived, back = source.with_name("demo-1.0-0.conda"), source.parent / "back" / source.name
        back.parent.mkdir()
        receipt = transmute(source, derived, threads=threads)
        assert split(derived) == split(source)
        assert transmute(derived, back, threads=threads).members == receipt.members
        assert split(back) == split(source)
        if not any(part[156:157] == b"g" for part in parts):
            assert transmute(back, back.with_name(derived.name)).derived == receipt.derived


@given(st.binary(max_size=40))
def test_a_path_is_below_the_root_or_refused(name: bytes) -> None:
    try:
        path = checked_path(name)
    except HostileArchiveError:
        assert name.startswith(b"/") or b".." in name.split(b"/") or b"\0" in name
    else:
        parts = path.split(b"/") if path else []
        assert not {b"", b".", b".."} & set(parts)
        assert not name.startswith(b"/")
