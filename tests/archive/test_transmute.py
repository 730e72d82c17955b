"""What `transmute` promises: members kept, bytes determined by the input, nothing half-made."""

from __future__ import annotations

import bz2
import hashlib
import io
import os
import random
import resource
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from asynccache.archive import Limits, bzip2_children, check, conda_write, to_conda, transmute
from asynccache.archive.member import Component
from asynccache.archive.zstd_stream import ZstdWriter
from asynccache.errors import ArchiveError, DiskError, HostileArchiveError, IntegrityError, TransmuteError, UsageError
from asynccache.model.digest import Digests
from tests.archive import tar_builder as tb
from tests.archive.members import MemberRecord, members

STEM = "demo-1.0-0"
REPOSITORY = Path(__file__).resolve().parents[2]


def split(path: Path) -> list[tuple[object, ...]]:
    """Return what each member is, down to its header bytes, the info archive's first."""
    records = list(members(path))
    return [key(r) for c in Component for r in records if r.member.component is c]


def key(record: MemberRecord) -> tuple[object, ...]:
    m = record.member
    return (m.name, m.type, m.mode, m.mtime, m.linkname, m.size, m.real_size, record.sha256, record.header_sha256)


def varied(tmp_path: Path) -> Path:
    """Return a package with every kind of member, in an order that both parts interrupt."""
    long = b"/".join([b"directory-\xff\xfe"] * 12) + b"/file"
    return tb.tar_bz2(
        tmp_path,
        tb.file(b"lib/a", b"a" * 5000, mode=0o755),
        tb.file(b"info/about.json", b"{}"),
        tb.directory(b"lib/empty/"),
        tb.gnu_long(long) + tb.file(long[:100], b"long"),
        tb.symlink(b"lib/b", b"a"),
        tb.hardlink(b"lib/c", b"lib/a"),
        tb.file(b"./info/files", b"lib/a\n"),
        tb.pax({b"path": "share/☃".encode(), b"mtime": b"1.25", b"SCHILY.xattr.user.a": b"\0\xff"})
        + tb.file(b"x", b"snow"),
        tb.gnu_sparse(b"sparse", b"data", 100_000, extended=2),
        tb.file(b"information", b"not below info"),
        tb.directory(b"info"),
        tb.file(b"info/test/t\xe9st", b"1"),
        tb.file(b"empty", b""),
    )


def large(tmp_path: Path, size: int = 2 << 20) -> Path:
    return tb.tar_bz2(tmp_path, tb.file(b"lib/data.bin", random.Random(7).randbytes(size)))


def test_members_are_kept_both_ways(tmp_path: Path) -> None:
    source = varied(tmp_path)
    derived = tmp_path / f"{STEM}.conda"
    receipt = transmute(source, derived)
    assert receipt.verified
    assert receipt.members == len(list(members(source))) == 14
    assert split(derived) == split(source)
    back = tmp_path / "back" / source.name
    back.parent.mkdir()
    assert transmute(derived, back).members == receipt.members
    assert [key(r) for r in members(back)] == split(source)
    again = tmp_path / "back" / derived.name
    assert transmute(back, again).derived == receipt.derived


def test_everything_below_info_goes_to_the_info_archive(tmp_path: Path) -> None:
    derived = tmp_path / f"{STEM}.conda"
    transmute(varied(tmp_path), derived)
    found = {r.member.name for r in members(derived) if r.archive is Component.INFO}
    assert found == {b"info/index.json", b"info/about.json", b"./info/files", b"info", b"info/test/t\xe9st"}


def test_global_headers_go_to_both_parts(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.pax({b"comment": b"abc", b"mtime": b"9"}, b"g"), tb.file(b"x"), tb.file(b"info/y"))
    derived = tmp_path / f"{STEM}.conda"
    transmute(source, derived)
    found = [(r.member.name, r.archive, r.member.globals.get(b"comment"), r.member.mtime) for r in members(derived)]
    assert found[1:] == [(b"info/y", Component.INFO, b"abc", 9), (b"x", Component.PKG, b"abc", 9)]
    back = tmp_path / "back" / source.name
    back.parent.mkdir()
    transmute(derived, back)
    assert split(back) == split(source)


def test_part_without_members_has_no_global_header(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}.tar.bz2"
    path.write_bytes(bz2.compress(tb.pax({b"comment": b"0123"}, b"g") + tb.index() + tb.END))
    derived = tmp_path / f"{STEM}.conda"
    transmute(path, derived)
    with zipfile.ZipFile(derived) as archive:
        found = {}
        for name in archive.namelist()[1:]:
            with tarfile.open(fileobj=io.BytesIO(tb.zstd.decompress(archive.read(name)))) as tar:
                found[name.partition("-")[0]] = [(m.name, m.pax_headers.get("comment")) for m in tar]
    assert found == {"pkg": [], "info": [("info/index.json", "0123")]}
    back = tmp_path / "back" / path.name
    back.parent.mkdir()
    transmute(derived, back)
    assert split(back) == split(path)


def test_global_header_that_would_reach_the_other_part_is_refused(tmp_path: Path) -> None:
    source = tb.conda(tmp_path, tb.file(b"x"), info=tb.pax({b"uname": b"me"}, b"g") + tb.index())
    with pytest.raises(TransmuteError, match=r"global PAX headers.*uname"):
        transmute(source, tmp_path / f"{STEM}.tar.bz2")


def test_hard_link_between_the_parts_is_refused(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.hardlink(b"share/x", b"info/index.json"))
    with pytest.raises(TransmuteError, match="hard link"):
        transmute(source, tmp_path / f"{STEM}.conda")


def test_same_input_gives_same_bytes(tmp_path: Path) -> None:
    source = large(tmp_path)
    digests = set()
    for number, threads in enumerate((1, 2, 3)):
        directory = tmp_path / str(number)
        directory.mkdir()
        conda, back = directory / f"{STEM}.conda", directory / f"{STEM}.tar.bz2"
        transmute(source, conda, threads=threads, verify=number != 1)
        transmute(conda, back, threads=threads, verify=number != 1)
        digests.add((conda.read_bytes(), back.read_bytes()))
    assert len(digests) == 1


def test_receipt_tells_what_was_done(tmp_path: Path) -> None:
    source, derived = large(tmp_path), tmp_path / f"{STEM}.conda"
    receipt = transmute(source, derived, level=5)
    for path, digests in ((source, receipt.source), (derived, receipt.derived)):
        data = path.read_bytes()
        assert digests == Digests(
            md5=hashlib.md5(data).hexdigest(), sha256=hashlib.sha256(data).hexdigest(), size=len(data)
        )
    assert (receipt.level, str(receipt.source_format), str(receipt.derived_format)) == (5, ".tar.bz2", ".conda")
    assert receipt.tool.startswith("asynccache ")
    assert any(name.startswith("libzstd ") for name in receipt.backends)
    assert receipt.unpacked_bytes == sum(r.member.size for r in members(source))
    assert not transmute(source, derived, verify=False).verified


def test_level_is_used(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.file(b"x", b"".join(b"%d," % (i * i) for i in range(50_000))))
    sizes = [transmute(source, tmp_path / f"{STEM}.conda", level=level).derived.size or 0 for level in (1, 19)]
    assert sizes[0] > sizes[1] * 1.2
    with pytest.raises(UsageError, match="1 to 22"):
        transmute(source, tmp_path / f"{STEM}.conda", level=23)


@pytest.mark.parametrize(
    "names", [("a-1-0.conda", "a-1-0.conda"), ("a-1-0.whl", "a-1-0.conda"), ("a-1-0.tar.bz2", "x")]
)
def test_only_the_two_conda_formats_are_accepted(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        transmute(tmp_path / names[0], tmp_path / names[1])


def test_unexpected_source_digest_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = varied(tmp_path)
    for wrong in (Digests(md5="0" * 32), Digests(sha256="0" * 64), Digests(size=5)):
        with pytest.raises(IntegrityError, match=source.name):
            transmute(source, tmp_path / f"{STEM}.conda", expected=wrong)
    assert list(tmp_path.iterdir()) == [source]
    right = Digests(sha256=hashlib.sha256(source.read_bytes()).hexdigest())
    assert transmute(source, tmp_path / f"{STEM}.conda", expected=right).source.sha256 == right.sha256


def test_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    source = large(tmp_path)

    def touch(_count: int) -> None:
        os.utime(source, ns=(1, 1))

    with pytest.raises(IntegrityError, match="changed while it was read"):
        transmute(source, tmp_path / f"{STEM}.conda", progress=touch)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("to", [".conda", ".tar.bz2"])
def test_cancelling_at_any_block_leaves_nothing(tmp_path: Path, to: str) -> None:
    source = large(tmp_path, 3 << 19)
    if to == ".tar.bz2":
        made = tmp_path / f"{STEM}.conda"
        transmute(source, made)
        source.unlink()
        source = made
    asked = 0

    stop_at = 10**9

    def count() -> bool:
        nonlocal asked
        asked += 1
        return asked > stop_at

    target = tmp_path / f"{STEM}{to}"
    transmute(source, target, threads=2, cancelled=count)
    target.unlink()
    total, stops = asked, 0
    while stops < total:
        asked, stop_at = 0, stops
        with pytest.raises(CancelledError):
            transmute(source, target, threads=2, cancelled=count)
        assert list(tmp_path.iterdir()) == [source]
        stops += 1
    assert stops > 3


def test_cancelling_ends_the_decoding_process(tmp_path: Path) -> None:
    source = large(tmp_path, 4 << 20)
    bzip2_children.end_idle()

    def decoding() -> bool:
        command = ["ps", "-ww", "-o", "args=", "--ppid", str(os.getpid())]
        return b"_bzip2_child" in subprocess.run(command, capture_output=True, check=False).stdout

    seen: list[bool] = []

    def stop_while_decoding() -> bool:
        seen.append(decoding())
        return seen[-1]

    with pytest.raises(CancelledError):
        transmute(source, tmp_path / f"{STEM}.conda", cancelled=stop_while_decoding)
    assert seen[-1]
    assert not decoding()


def test_failure_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / f"{STEM}.conda"
    target.write_bytes(b"earlier")
    source = tb.tar_bz2(tmp_path, tb.file(b"x"), tb.file(b"../x"))
    with pytest.raises(HostileArchiveError):
        transmute(source, target)
    assert target.read_bytes() == b"earlier"
    assert sorted(tmp_path.iterdir()) == [target, source]


def test_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write next to"):
        transmute(varied(tmp_path), tmp_path / "missing" / f"{STEM}.conda")


@pytest.mark.parametrize("to", [".conda", ".tar.bz2"])
def test_full_disk_is_named_and_leaves_nothing(tmp_path: Path, to: str) -> None:
    source = large(tmp_path)
    if to == ".tar.bz2":
        transmute(source, tmp_path / f"{STEM}.conda")
        source.unlink()
        source = tmp_path / f"{STEM}.conda"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = (
        "import resource, signal, sys; from pathlib import Path; from asynccache.archive import transmute;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "transmute(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, source, tmp_path / f"{STEM}{to}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DiskError: cannot write" in run.stderr
    assert list(tmp_path.iterdir()) == [source]
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before


@pytest.mark.parametrize("to", [".conda", ".tar.bz2"])
def test_progress_adds_up_to_the_source(tmp_path: Path, to: str) -> None:
    source = large(tmp_path, 5 << 20)  # more than is read at a time
    if to == ".tar.bz2":
        transmute(source, tmp_path / f"{STEM}.conda")
        source = tmp_path / f"{STEM}.conda"
    counts: list[int] = []
    (tmp_path / "out").mkdir()
    transmute(source, tmp_path / "out" / f"{STEM}{to}", progress=counts.append)
    assert sum(counts) == source.stat().st_size
    assert len(counts) > 1


def test_corrupted_zstd_output_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(ZstdWriter):
        def write(self, data: memoryview) -> bytes:
            changed = bytearray(data)
            if len(changed) > 700:
                changed[600] ^= 1
            return super().write(memoryview(changed))

    monkeypatch.setattr(to_conda, "ZstdWriter", Forgetful)
    source = varied(tmp_path)
    with pytest.raises(TransmuteError, match="differs from its source"):
        transmute(source, tmp_path / f"{STEM}.conda")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("at", [0, 1000, -1])
def test_lost_bzip2_output_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    source = tmp_path / f"{STEM}.conda"
    transmute(varied(tmp_path), source)
    compress = bz2.compress

    def lossy(chunk: bytes, level: int) -> bytes:
        changed = bytearray(chunk)
        changed[at] ^= 1
        return compress(bytes(changed), level)

    monkeypatch.setattr("asynccache.archive.bzip2_write.bz2.compress", lossy)
    (tmp_path / "out").mkdir()
    with pytest.raises(TransmuteError, match="differs from its source"):
        transmute(source, tmp_path / "out" / f"{STEM}.tar.bz2")
    assert list((tmp_path / "out").iterdir()) == []


def test_bombs_of_bzip2_are_refused(tmp_path: Path) -> None:
    size = 264 << 20  # more than what is allowed to every archive
    compressor = bz2.BZ2Compressor()
    data = [compressor.compress(tb.index() + tb.header(b"x", b"0", size))]
    data += [compressor.compress(bytes(1 << 20)) for _ in range(264)]
    source = tmp_path / f"{STEM}.tar.bz2"
    source.write_bytes(b"".join([*data, compressor.compress(tb.END), compressor.flush()]))
    assert source.stat().st_size < 10_000
    with pytest.raises(HostileArchiveError, match="unpacks to more than it may"):
        transmute(source, tmp_path / f"{STEM}.conda")
    assert check(source, limits=Limits(ratio=1e6)).unpacked_bytes > size


def test_absolute_cap_is_kept(tmp_path: Path) -> None:
    source = large(tmp_path)
    with pytest.raises(HostileArchiveError, match="at most 1000000 bytes"):
        transmute(source, tmp_path / f"{STEM}.conda", limits=Limits(unpacked_bytes=1_000_000))


def test_package_archive_that_outgrows_its_header_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = large(tmp_path)
    monkeypatch.setattr(conda_write, "ZIP64_LIMIT", 2 << 20)
    derived = tmp_path / f"{STEM}.conda"
    transmute(source, derived)
    with zipfile.ZipFile(derived) as archive:
        assert archive.testzip() is None
        info = archive.getinfo(f"pkg-{STEM}.tar.zst")
        assert info.extract_version == 45
    header = derived.read_bytes()[info.header_offset :][:30]
    assert header[18:26] == b"\xff" * 8, "the sizes stand in the ZIP64 field"
    assert split(derived) == split(source)


def test_packages_side_by_side_in_threads(tmp_path: Path) -> None:
    jobs = []
    for number in range(6):
        directory = tmp_path / str(number)
        directory.mkdir()
        jobs.append(large(directory, (1 + number % 2) << 20))
    with ThreadPoolExecutor(3) as pool:
        receipts = list(pool.map(lambda s: transmute(s, s.with_name(f"{STEM}.conda")), jobs))
    assert len({r.derived for r in receipts}) == 2


def peak_memory(source: Path, target: Path) -> int:
    script = (
        "import resource, sys; from pathlib import Path; from asynccache.archive import Limits, transmute;"
        "transmute(Path(sys.argv[1]), Path(sys.argv[2]), threads=2, limits=Limits(ratio=1e6));"
        "own = int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]);"
        "print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, source, target], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return int(run.stdout) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    # half of it below info/, so both components are large; content that is quick to compress
    size = 80 << 20
    block = random.Random(5).randbytes(1 << 16) + bytes(4 << 20)
    source = tmp_path / f"{STEM}.tar.bz2"
    compressor = bz2.BZ2Compressor()
    with source.open("wb") as file:
        file.write(compressor.compress(tb.index()))
        for name in (b"info/large", b"large"):
            file.write(compressor.compress(tb.header(name, b"0", size)))
            for _ in range(size // len(block)):
                file.write(compressor.compress(block))
            file.write(compressor.compress(bytes(size % len(block))))
        file.write(compressor.compress(tb.END) + compressor.flush())
    derived = tmp_path / "out" / f"{STEM}.conda"
    derived.parent.mkdir()
    assert peak_memory(source, derived) < 100 << 20
    assert peak_memory(derived, tmp_path / "out" / source.name) < 100 << 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.long
def test_two_gibibytes_and_more_take_zip64(tmp_path: Path) -> None:
    size = (2 << 30) + (64 << 20)
    source = tmp_path / f"{STEM}.conda"
    noise = random.Random(9).randbytes(8 << 20)
    with source.open("wb+") as file:
        writer = conda_write.CondaWriter(file, STEM, large=True)
        pkg, info = tb.zstd.ZstdCompressor(level=1), tb.zstd.ZstdCompressor(level=1)
        writer.write(Component.INFO, info.compress(tb.index() + tb.END) + info.flush())
        writer.write(Component.PKG, pkg.compress(tb.header(b"x", b"0", size)))
        for number in range(size // len(noise)):
            # not compressible, so the package archive itself is larger than 2 GiB
            writer.write(Component.PKG, pkg.compress(noise[number:] + noise[:number]))
        writer.write(Component.PKG, pkg.compress(tb.END) + pkg.flush())
        writer.finish()
        writer.close()
    if source.stat().st_size < conda_write.ZIP64_LIMIT:
        pytest.fail("the test's package is too small to mean anything")
    with zipfile.ZipFile(source) as archive:
        assert archive.getinfo(f"pkg-{STEM}.tar.zst").file_size > conda_write.ZIP64_LIMIT
    assert check(source).unpacked_bytes > size


def test_error_is_one_sentence(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.symlink(b"lib/x", b"/etc/passwd"))
    with pytest.raises(ArchiveError) as caught:
        transmute(source, tmp_path / f"{STEM}.conda")
    assert str(caught.value) == (
        "the symbolic link 'lib/x' leads out of the root: expected a target below the root, found '/etc/passwd';"
        " set links_outside if this package is to be trusted"
    )
