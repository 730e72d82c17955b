"""Tar archives that are made and then mutated: bytes in general, and what the format gives a meaning in particular."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Final

from tests.archive import tar_builder as tb

_NAMES: Final = (
    b"a", b"b", b"a/b", b"lib/x", b"lib/y", b"./lib/z", b"lib//w", b"info/files", b"info/z/y", b"d", b"d/", b"e/f/g",
    b"x" * 99, b"x" * 100, b"p/" * 49 + b"q", "ünï☃".encode(), b"\xff\xfe", b"-n", b"new\nline", b"sp ace", b"tr ",
    b".",
    b"", b"..", b"../x", b"/abs", b"a/../b", b"info", b"info/index.json", b"C:x", b"con", b"a\\b", b"n" * 256,
)  # fmt: skip
_TARGETS: Final = (
    b"a",
    b"b",
    b"lib/x",
    b"../a",
    b"..",
    b"../..",
    b"/etc/passwd",
    b".",
    b"",
    b"x" * 100,
    b"d/../..",
    b"\xff",
)
_TYPES: Final = b"0\x0071252SxgLKX346AMVND89"
_NUMBERS: Final = (
    b"0000000\0", b"0000644\0", b"      0\0", b"00000000000\0", b"00000001000\0", b"77777777777\0", b"\x80" + bytes(11),
    b"\x80" + bytes(10) + b"\x05", b"\xff" * 12, b"\x80\xff" + b"\xff" * 10, b"           \0", b"-1\0", b"0x10\0",
    b"12 34\0",
    b"\0" * 12, b"9\0", b"1_0\0", b"+7\0", b"5\0 garbage",
)  # fmt: skip
_FIELDS: Final = (  # offset, length
    (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (265, 32), (297, 32),
    (329, 8), (337, 8), (345, 155), (386, 24), (482, 13), (500, 12),
)  # fmt: skip
_KEYS: Final = (
    b"path", b"linkpath", b"size", b"mtime", b"atime", b"uid", b"gid", b"uname", b"comment", b"hdrcharset", b"charset",
    b"GNU.sparse.major", b"GNU.sparse.map", b"GNU.sparse.name", b"SCHILY.xattr.user.x", b"VENDOR.key", b"Path",
    b" path",
)  # fmt: skip
_VALUES: Final = (
    b"a", b"lib/pax", b"0", b"5", b"512", b"-1", b"1.5", b"1e3", b"nan", b"inf", b"", b"UTF-8", b"BINARY",
    b"ISO-IR 10646 2000 UTF-8", b"x=y", b"two\nlines", b"\xff\xfe", b"n\0ul", b"d/", b"../x", b"/abs", b"1_0", b" 7",
    b"9" * 19,
    b"9" * 30, b"0x10", b"y" * 300, b"a" * 250 + b"/" + b"b" * 250,
)  # fmt: skip


def members(source: Random, calm: bool) -> list[bytes]:
    """Return the blocks of up to eight members, all ordinary where it is calm."""
    parts: list[bytes] = []
    for number in range(source.choice((0, 1, 1, 2, 2, 3, 4, 8))):
        name = b"m%d/%d" % (source.randrange(3), number)
        if calm:
            parts.append(_ordinary(source, name, b"".join(parts)))
            continue
        if source.random() < 0.4:
            name = source.choice(_NAMES)
        parts.append(_extensions(source) + _member(source, name))
    return parts


def _ordinary(source: Random, name: bytes, before: bytes) -> bytes:
    """Return a member that every reader takes, in one of the ways to write it."""
    if source.random() < 0.2:
        name = (
            source.choice((b"./", b"info/", b"", "ü☃/".encode(), b"\xff/", b"sp ace/", b"-/", b"x//", b"l" * 60 + b"/"))
            + name
        )
    mode, data = source.choice((0o644, 0o755, 0o600, 0o444)), content(source)
    way = source.randrange(9)
    if way == 0:
        return tb.pax({b"path": name, b"mtime": source.choice((b"1", b"1700000000.25", b"0"))}) + tb.file(
            name[:100], data, mode=mode
        )
    if way == 1:
        return tb.gnu_long(name) + tb.file(name[:100], data, mode=mode)
    if way == 2:
        target = source.choice((b"a", b"x" * 99, b"m0/0", b".", b"missing/x"))
        return (tb.gnu_long(target, b"K") if source.random() < 0.3 else b"") + tb.symlink(name, target)
    if way == 3 and before[156:157] == b"0" and before[:1] == b"m":
        return tb.hardlink(name, before[:100].rstrip(b"\0"))
    if way == 4:
        return tb.directory(source.choice((name, name + b"/")))
    if way == 5:
        return tb.pax(
            {source.choice((b"comment", b"VENDOR.k", b"uname")): source.choice(_VALUES[:12])}, b"g"
        ) + tb.file(name, data)
    if way == 6:
        return tb.gnu_sparse(
            name, tb.pad(data), len(tb.pad(data)) + source.choice((0, 512, 70_000)), extended=source.randrange(3)
        )
    if way == 7:
        return tb.file(name, data, mode=mode, prefix=source.choice((b"pre", b"pre/fix")))
    return tb.file(name, data, mode=mode)


def _member(source: Random, name: bytes) -> bytes:
    kind = source.random()
    if kind < 0.55:
        mode = source.choice((0o644, 0o644, 0o755, 0o600, 0o777))
        return tb.file(name, content(source), mode=mode)
    if kind < 0.7:
        return tb.symlink(name, source.choice(_TARGETS))
    if kind < 0.8:
        return tb.hardlink(name, source.choice(_NAMES[:8]))
    if kind < 0.9:
        return tb.directory(name)
    if kind < 0.95:
        stored = content(source)
        return tb.gnu_sparse(
            name, stored, len(stored) + source.choice((0, 1, 512, 100_000)), extended=source.randrange(3)
        )
    return tb.file(name, content(source), prefix=source.choice((b"", b"pre", b"pre/fix", b"/", b"..")))


def _extensions(source: Random) -> bytes:
    chance = source.random()
    if chance < 0.7:
        return b""
    if chance < 0.85:
        records = {source.choice(_KEYS): source.choice(_VALUES) for _ in range(source.choice((1, 1, 2, 3)))}
        return tb.pax(records, source.choice((b"x", b"x", b"x", b"g", b"X")))
    return tb.gnu_long(source.choice((*_NAMES, *_TARGETS)), source.choice((b"L", b"K")))


def costly(source: Random) -> list[bytes]:
    """Return members of some 100 KB that a careless reader takes long over."""
    count = source.choice((100, 500, 2000))
    deep = b"/".join([source.choice((b"a", b"..", b".", b"bb"))] * source.choice((10, 200, 1900)))
    ways: tuple[Callable[[int], bytes], ...] = (
        lambda n: tb.symlink(b"l%d" % n, b"l%d/../l%d" % (n - 1, max(0, n - 2))),
        lambda n: tb.gnu_long(deep[:4000], b"K") + tb.symlink(b"l%d" % n, b"x") if n < 60 else b"",
        lambda n: tb.gnu_long(b"%d/" % n + deep[:3900]) + tb.file(b"x") if n < 60 else b"",
        lambda n: (
            tb.pax({b"k%d" % k: b"v" for k in range(source.choice((5, 900)))}) + tb.file(b"%d" % n) if n < 60 else b""
        ),
        lambda n: tb.pax({b"g%d" % n: b"v" * 200}, b"g") + tb.file(b"%d" % n) if n < 300 else b"",
        lambda n: tb.file(b"d/" * (n % 40) + b"%d" % n, b"x" * (n % 700)),
        lambda n: tb.directory(b"d/" * (n % 40) + b"%d/" % n),
    )
    way = source.choice(ways)
    return [part for part in map(way, range(count)) if part]


def content(source: Random) -> bytes:
    """Return a small content; sizes at the edges of blocks are frequent."""
    size = source.choice((0, 1, 10, 511, 512, 513, 1024, 3000))
    return source.randbytes(size) if source.random() < 0.5 else bytes(size)


def index(source: Random, calm: bool) -> bytes:
    """Return `info/index.json` as a member, seldom a strange one."""
    if calm or source.random() < 0.9:
        return tb.index()
    text = source.choice(
        (b"", b"[]", b"{", b"null", b"[" * 3000, b'{"name": NaN}', b'{"name": "\\ud800"}', b'{"a": 1, "a": 2}',
         b"\xff{}",
         json.dumps({**tb.INDEX, "n": 10**40}).encode(), b'{"n":' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}")
    )  # fmt: skip
    return tb.file(b"info/index.json", text)


def joined(source: Random, parts: list[bytes], calm: bool) -> bytes:
    """Join members to an archive, with a change or a few on the way; with one at most where it is calm."""
    parts = list(parts)
    if calm:
        chance = source.random()
        parts = source.choice((_field, _field, _pax_text, _shuffled))(source, parts) if chance < 0.3 else parts
        data = b"".join(parts) + source.choice((tb.END, tb.END, bytes(512), bytes(10240)))
        return _sealed(source, data) if 0.3 < chance < 0.5 else data
    for _ in range(source.choice((0, 0, 1, 1, 2, 3))):
        parts = source.choice(_OF_PARTS)(source, parts)
    data = b"".join(parts) + source.choice((tb.END, tb.END, tb.END, tb.END, b"", bytes(512), bytes(10240), bytes(700)))
    for _ in range(source.choice((0, 0, 0, 1, 1, 2))):
        data = source.choice(_OF_BYTES)(source, data)
    return data


def _dropped(source: Random, parts: list[bytes]) -> list[bytes]:
    at = source.randrange(len(parts) + 1)
    return parts[:at] + parts[at + 1 :]


def _doubled(source: Random, parts: list[bytes]) -> list[bytes]:
    return [*parts, source.choice(parts)] if parts else parts


def _shuffled(source: Random, parts: list[bytes]) -> list[bytes]:
    return source.sample(parts, len(parts))


def _field(source: Random, parts: list[bytes]) -> list[bytes]:
    """Change a field of a header and put the right checksum in."""
    if not parts:
        return parts
    at = source.randrange(len(parts))
    part = parts[at]
    heads = [n for n in range(0, len(part), 512) if part[n + 257 : n + 262] == b"ustar"] or [0]
    head = source.choice(heads)
    block = bytearray(part[head : head + 512])
    offset, length = source.choice(_FIELDS)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: source.randbytes(length),
        lambda: source.choice(_NUMBERS),
        lambda: source.choice((*_NAMES, *_TARGETS)),
        lambda: bytes([source.choice(_TYPES)]) * length,
        lambda: bytes(length),
    )
    value = bytes([source.choice(_TYPES)]) if length == 1 else source.choice(kinds)()
    block[offset : offset + length] = value[:length].ljust(length, b"\0")
    parts[at] = part[:head] + (tb.seal(block) if source.random() < 0.95 else bytes(block)) + part[head + 512 :]
    return parts


def _pax_text(source: Random, parts: list[bytes]) -> list[bytes]:
    """Put a PAX header in whose records do not add up."""
    data = bytearray(
        tb.pax_data({source.choice(_KEYS): source.choice(_VALUES) for _ in range(source.choice((1, 2, 3)))})
    )
    for _ in range(source.choice((0, 1, 1, 2))):
        at = source.randrange(len(data))
        data[at : at + source.randrange(3)] = source.choice(
            (b"", b"0", b"9", b" ", b"=", b"\n", b"\0", b"99999999999", b"-")
        )
    if source.random() < 0.2:
        data = data * 2
    kind = source.choice((b"x", b"x", b"g"))
    extended = tb.header(b"PaxHeaders/x", kind, len(data)) + tb.pad(bytes(data))
    at = source.randrange(len(parts) + 1)
    return [*parts[:at], extended, *parts[at:]]


def _block(source: Random, parts: list[bytes]) -> list[bytes]:
    at = source.randrange(len(parts) + 1)
    new = source.choice((bytes(512), bytes(1024), source.randbytes(512), tb.header(b"v", b"V"), tb.header(b"g", b"g")))
    return [*parts[:at], new, *parts[at:]]


def _flipped(source: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 8))):
        if changed:
            changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def _cut(source: Random, data: bytes) -> bytes:
    return data[: source.randrange(len(data) + 1)]


def _spliced(source: Random, data: bytes) -> bytes:
    at, start = source.randrange(len(data) + 1), source.randrange(len(data) + 1)
    return data[:at] + data[start : start + source.choice((1, 512, 1024))] + data[at:]


def _sealed(source: Random, data: bytes) -> bytes:
    """Flip a bit anywhere in a header, and make its checksum right again."""
    if len(data) < 512:
        return data
    head = 512 * source.randrange(len(data) // 512)
    return data[:head] + tb.seal(_flipped(source, data[head : head + 512])) + data[head + 512 :]


_OF_PARTS: Final = (_dropped, _doubled, _shuffled, _field, _field, _field, _pax_text, _block)
_OF_BYTES: Final = (_flipped, _cut, _spliced, _sealed, _sealed)
flipped = _flipped
cut = _cut
