"""Writing the real prefix into files that were packed with a placeholder, with the same bytes as linking would."""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from asynccache.errors import HydrationError
from asynccache.node.pack_format import damaged

CONDA = 1  # styles of interpreter lines, by who wrote them
WHEEL = 2
_LONGEST_LINE = {"linux": 127, "osx": 512}  # bytes of an interpreter line that a kernel reads, as in py-rattler
_LINE = re.compile(rb"#!( *)(/(?:\\ |[^ \n\r\t])*)(.*)", re.DOTALL)
_PYTHON = re.compile(rb"python(?:\d+(?:\.\d+)?)?")


class Digested(NamedTuple):
    """The result for a file: its sha256 and size in bytes."""

    sha256: bytes
    size: int

    def as_text(self, kind: str) -> bytes:
        """Return the text to insert: `x` hexadecimal digits, `s` the size, `r` both in the format of a RECORD row."""
        if kind == "s":
            return b"%d" % self.size
        if kind == "x":
            return self.sha256.hex().encode("ascii")
        return base64.urlsafe_b64encode(self.sha256).rstrip(b"=") + b",%d" % self.size


def patched(
    data: bytes, patches: dict[str, Any], old: bytes, new: bytes, arch: str, digests: dict[int, Digested]
) -> bytes:
    """Return a file's content with the prefix in it.

    Args:
        data: Content as packed.
        patches: Changes to the file, see `File`.
        old: The placeholder.
        new: The prefix.
        arch: conda platform of the environment.
        digests: Digests of the files whose digests this one contains, by number.

    Raises:
        PackUnusableError: The placeholder is not where it should be.
        HydrationError: The prefix is too long for a binary file.
    """
    changes = [(int(at), len(old), new) for at in patches.get("t", ())]
    if any(data[at : at + len(old)] != old for at, _length, _text in changes):
        raise damaged("a placeholder is not where the index says")
    changes += [_binary(data, at, length, room, old, new) for at, length, room in patches.get("b", ())]
    for at, length, number, kind in patches.get("d", ()):
        changes.append((at, length, digests[number].as_text(kind)))
    parts, done = [], 0
    for at, length, text in sorted(changes):
        if at < done:
            raise damaged("two changes of a file overlap")
        parts += [data[done:at], text]
        done = at + length
    parts.append(data[done:])
    result = b"".join(parts)
    style = patches.get("s")
    return _runnable(result, style, new, arch.partition("-")[0]) if style else result


def _binary(data: bytes, at: int, length: int, room: int, old: bytes, new: bytes) -> tuple[int, int, bytes]:
    """Return the change of a C string within its space: position, number of bytes, new content."""
    string = data[at : at + length]
    if not string.startswith(old) or len(string) != length:
        raise damaged("a placeholder is not where the index says")
    changed = string.replace(old, new)
    if len(changed) > length + room:
        raise HydrationError(
            "the prefix {} is too long for a binary file; choose a shorter one".format(new.decode("utf-8"))
        )
    return at, length + room, changed.ljust(length + room, b"\0")


def _runnable(data: bytes, style: int, prefix: bytes, system: str) -> bytes:
    """Return a script that starts even if its interpreter's path is too long for the kernel or has a space."""
    first, newline, rest = data.partition(b"\n")
    longest = _LONGEST_LINE.get(system, 127) if style == CONDA else 126
    if len(first) <= longest and b" " not in prefix:
        return data
    if b" " in prefix:
        first = first.replace(prefix, b"/" + b"\0" * (len(prefix) - 1))
    match = _LINE.fullmatch(first)
    if match is None:
        return data
    path, options = match.group(2), match.group(3)
    name = path.rpartition(b"/")[2]
    if style == WHEEL:
        line = b"#!/bin/sh\n'''exec' \"" + path + b'"' + options + b" \"$0\" \"$@\"\n' '''"
    elif _PYTHON.fullmatch(name):
        line = b"#!/bin/sh\n'''exec' \"" + path + b'"' + options + b' "$0" "$@" #\'\'\''
    else:
        line = b"#!/usr/bin/env " + name + options
    return line.replace(b"/" + b"\0" * (len(prefix) - 1), prefix) + newline + rest
