"""Unpacking a packed environment into a directory: few ranged reads, every frame verified before it is written.

A few threads stream one run of frames each; receiving, decompressing and writing overlap since all three release the
GIL. Files with digests of others (conda-meta, RECORD) are written last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from typing import Any, Iterator

from asynccache.errors import DiskError, HydrationError
from asynccache.node.disk import current_umask, disk_errors
from asynccache.node.errors import PackUnusableError
from asynccache.node.pack_format import FOOTER_BYTES, Decompress, Footer, Frame, Index, damaged, digest_of
from asynccache.node.pack_patch import Digested, patched
from asynccache.node.ranges import Ranges

_TAIL = 256 << 10  # bytes of the first request: the footer and, for most environments, the whole index
_LEAST_RANGE = 2 << 20  # bytes below which a range is not worth a request of its own


def read_index(
    ranges: Ranges, decompress: Decompress, *, identity: tuple[str, str, str] | None = None, digest: str | None = None
) -> Index:
    """Read the index of a pack, with one or two requests.

    Args:
        ranges: The object.
        decompress: The decoder.
        identity: (req_id, full_id, arch) that it must be of.
        digest: The digest that it must have; None for any.

    Raises:
        PackUnusableError: It is damaged, or of another environment.
    """
    tail, size = ranges.tail(_TAIL)
    footer = Footer.parse(tail[-FOOTER_BYTES:], size)
    if digest is not None and footer.digest != digest:
        raise PackUnusableError(
            f"{ranges.name} is another pack than the manifest says: expected {digest}, found {footer.digest}"
        )
    start = size - len(tail)
    stored = tail[footer.offset - start : -FOOTER_BYTES] if footer.offset >= start else None
    if stored is None:
        stored = ranges.read(footer.offset, footer.size)
    found = digest_of(stored)
    if found != footer.digest:
        raise damaged(f"its index has sha256 {found}, and the footer says {footer.digest}")
    index = Index.parse(decompress(stored, footer.raw_size), footer.offset)
    if identity is not None and tuple(index.about.get("env", ())) != identity:
        raise PackUnusableError("{} is of another environment: {}".format(ranges.name, index.about.get("env")))
    return index


def unpack(
    ranges: Ranges,
    index: Index,
    decompress: Decompress,
    target: str,
    prefix: str,
    threads: int | None = None,
    *,
    check_files: bool = False,
    bytecode: bool = True,
) -> None:
    """Write all of a pack into a directory that has none of its files.

    Args:
        ranges: The object.
        index: Its index.
        decompress: The decoder.
        target: An existing directory.
        prefix: The path that is written into the files.
        threads: Number of threads; None to choose.
        check_files: Also compare each file's sha256, which is necessary if the pack was vouched for by its index alone;
            a pack of an older version, whose index has none, was compared by reading all of it.
        bytecode: Write the byte code, which Python would re-create if missing.

    Raises:
        PackUnusableError: A frame or a file is damaged or cannot be read.
        HydrationError: The prefix does not fit.
        DiskError: The disk is too small or cannot be written.
    """
    check_files = check_files and all(file.sha256 for file in index.files)
    left_out = set() if bytecode else {number for number, file in enumerate(index.files) if file.bytecode}
    _Unpacking(ranges, index, decompress, target, prefix, check_files, left_out).run(threads)


def check_frames(ranges: Ranges, index: Index) -> None:
    """Read all frames and compare their digests.

    Raises:
        PackUnusableError: One is damaged or cannot be read.
    """
    for frame, data in _read_frames(ranges, index.frames):
        _check(frame, data)


def _read_frames(ranges: Ranges, run: list[Frame]) -> Iterator[tuple[Frame, bytes]]:
    """Yield neighbouring frames, read as one range."""
    if not run:
        return
    begun = bytearray()  # for a frame that does not end in the piece in which it begins
    waiting = iter(run)
    frame = next(waiting)
    for piece in ranges.stream(run[0].offset, run[-1].offset + run[-1].size - run[0].offset):
        at = 0
        while len(begun) + len(piece) - at >= frame.size:
            end = at + frame.size - len(begun)
            data = bytes(begun + piece[at:end]) if begun else piece[at:end]
            begun, at = bytearray(), end
            yield frame, data
            following = next(waiting, None)
            if following is None:
                return
            frame = following
        begun += piece[at:]
        del piece  # large ones: the next one would be held beside it


def _check(frame: Frame, data: bytes) -> None:
    found = digest_of(data)
    if found != frame.digest:
        raise damaged(
            "bytes %d to %d have sha256 %s, and the index says %s"
            % (frame.offset, frame.offset + frame.size, found, frame.digest)
        )


class _Unpacking:
    def __init__(
        self,
        ranges: Ranges,
        index: Index,
        decompress: Decompress,
        target: str,
        prefix: str,
        check_files: bool,
        left_out: set[int],
    ) -> None:
        self._ranges = ranges
        self._index = index
        self._decompress = decompress
        self._target = target
        self._old = os.fsencode(str(index.about["prefix"]))
        self._new = os.fsencode(prefix)
        self._arch = str(index.about["env"][2])
        self._failures: list[BaseException] = []
        self._held: dict[int, bytes] = {}
        self._digests: dict[int, Digested] = {}
        self._parted: set[int] = set()
        self._wanted = {int(d[2]) for file in index.files for d in file.patches.get("d", ())}
        self._mask = current_umask()
        self._check_files = check_files
        self._left_out = left_out

    def run(self, threads: int | None) -> None:
        self._check()
        runs = self._runs(threads)
        with disk_errors(self._target):
            self._skeleton()
            workers = [threading.Thread(target=self._work, args=(run,), name="asynccache-unpack") for run in runs[1:]]
            for worker in workers:
                worker.start()
            if runs:
                self._work(runs[0])
            for worker in workers:
                worker.join()
            if self._failures:
                raise self._failures[0]
            for number, data in sorted(self._held.items()):
                self._write(number, self._patched(number, data))
            for number in self._parted:
                self._check_file(number, None)
                os.chmod(self._path(self._index.files[number].path), self._index.files[number].mode)
            for path, mode in self._index.directories:
                if mode & 0o700 != 0o700:
                    os.chmod(self._path(path), mode)

    def _check(self) -> None:
        longest = self._index.about.get("longest_prefix")
        if longest is not None and len(self._new) > longest:
            raise HydrationError(
                f"the prefix {os.fsdecode(self._new)} is too long for this environment",
                expected=f"at most {longest} bytes",
                found=len(self._new),
                hint="choose a shorter directory",
            )
        needed = self._index.raw_bytes + 4096 * len(self._index.files) // 2
        try:
            free = shutil.disk_usage(self._target).free
        except OSError:
            return
        if free < needed:
            raise DiskError(
                f"the environment does not fit into {self._target}",
                expected=f"{needed} free bytes",
                found=free,
                hint="free some space or choose another directory",
            )

    def _runs(self, threads: int | None) -> list[list[Frame]]:
        """Cut the frames into runs of about the same number of stored bytes."""
        frames = self._index.frames
        total = sum(frame.size for frame in frames)
        if not frames:
            return []
        count = threads or max(1, min(self._ranges.streams, total // _LEAST_RANGE))
        runs: list[list[Frame]] = []
        done = 0
        for frame in frames:
            if len(runs) * total <= done * count or not runs:
                runs.append([])
            runs[-1].append(frame)
            done += frame.size
        return runs

    def _skeleton(self) -> None:
        for path, _mode in self._index.directories:
            os.mkdir(self._path(path))
        for path, target in self._index.links:
            os.symlink(target, self._path(path))
        for number, file in enumerate(self._index.files):
            if not file.size:
                self._write(number, b"")

    def _work(self, run: list[Frame]) -> None:
        try:
            for frame, data in _read_frames(self._ranges, run):
                if self._failures:
                    return
                self._take(frame, data)
        except BaseException as exc:  # noqa: BLE001 - raised again by the caller that started the threads
            self._failures.append(exc)

    def _take(self, frame: Frame, data: bytes) -> None:
        _check(frame, data)
        raw = memoryview(self._decompress(data, frame.raw_size))
        files = self._index.files
        for number in self._index.files_in(frame):
            file = files[number]
            begin = file.raw_offset - frame.raw_offset
            if number in self._left_out:
                continue
            if begin < 0 or begin + file.size > frame.raw_size:
                self._write(number, raw[max(0, begin) : begin + file.size], max(0, -begin), part=True)
                continue
            self._check_file(number, raw[begin : begin + file.size])
            if not file.patches and number not in self._wanted:
                self._write(number, raw[begin : begin + file.size])
            elif "d" in file.patches:
                self._held[number] = bytes(raw[begin : begin + file.size])
            else:
                content = self._patched(number, bytes(raw[begin : begin + file.size]))
                if number in self._wanted:
                    self._digests[number] = Digested(hashlib.sha256(content).digest(), len(content))
                self._write(number, content)

    def _check_file(self, number: int, data: Any) -> None:
        """Compare the content of a file before it is changed: the given content, or that of a file in several
        frames.
        """
        if not self._check_files:
            return
        file, digest = self._index.files[number], hashlib.sha256()
        if data is not None:
            digest.update(data)
        else:
            with open(self._path(file.path), "rb") as written:
                for piece in iter(lambda: written.read(1 << 20), b""):
                    digest.update(piece)
        if digest.hexdigest() != file.sha256:
            raise damaged(f"{file.path!r} has sha256 {digest.hexdigest()}, and the index says {file.sha256 or 'none'}")

    def _patched(self, number: int, data: bytes) -> bytes:
        patches = self._index.files[number].patches
        try:
            return patched(data, patches, self._old, self._new, self._arch, self._digests)
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            raise damaged(f"the changes of {self._index.files[number].path} cannot be made: {exc}") from exc

    def _path(self, path: str) -> str:
        return self._target + "/" + path

    def _write(self, number: int, data: Any, offset: int = 0, *, part: bool = False) -> None:
        """Write a file, or a part of one; its mode is set after the last part."""
        file = self._index.files[number]
        flags, mode = (0, 0o600) if part else (os.O_EXCL, file.mode)
        descriptor = os.open(self._path(file.path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, mode)
        try:
            if part:
                self._parted.add(number)
            elif mode & self._mask:
                os.fchmod(descriptor, mode)
            while data:
                written = os.pwrite(descriptor, data, offset)
                data, offset = data[written:], offset + written
        finally:
            os.close(descriptor)
