"""The format keeps what is written, and refuses whatever would leave the prefix or contradicts itself."""

import hashlib
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynccache.boot.zstd import find_decompressor
from asynccache.errors import DiskError, HydrationError
from asynccache.hydrate.pack_write import plan_pack, write_pack
from asynccache.node.errors import PackUnusableError
from asynccache.node.pack_format import FOOTER_BYTES, MAGIC, PREFIX, VERSION, File, Footer, Frame, Index
from asynccache.node.pack_patch import CONDA, WHEEL, patched
from asynccache.node.pack_reader import check_frames, read_index, unpack
from asynccache.node.ranges import LocalRanges

OLD = PREFIX.encode()
ABOUT = {"format": VERSION, "env": ["0" * 40, "1" * 40, "linux-64"], "prefix": PREFIX, "made_by": "tests"}
names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8
)
names = names.filter(lambda n: n not in {".", ".."} and len(n.encode()) < 200 and n != "conda-meta")
contents = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda a, n, b: a + bytes(n) + b, st.binary(max_size=9), st.integers(0, 9 << 20), st.binary(max_size=9)),
    st.lists(st.sampled_from([b"text ", OLD, b"\n", b"#!" + OLD + b"/bin/python\n", b"\0"]), max_size=6).map(b"".join),
)
decoder = find_decompressor()
assert decoder is not None
decompress = decoder[1]


@given(st.dictionaries(names, st.one_of(contents, st.dictionaries(names, contents, max_size=3)), max_size=5))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
def test_whatever_is_packed_is_unpacked(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]) -> None:
    base = tmp_path_factory.mktemp("trees")
    for name, value in tree.items():
        if isinstance(value, dict):
            (base / "tree" / name).mkdir(parents=True)
            for inner, data in value.items():
                (base / "tree" / name / inner).write_bytes(data)
        else:
            (base / "tree").mkdir(exist_ok=True)
            assert isinstance(value, bytes)
            (base / "tree" / name).write_bytes(value)
    (base / "tree").mkdir(exist_ok=True)
    (base / "tree" / "a link beside").symlink_to("nowhere")
    write_pack(plan_pack(base / "tree"), base / "pack", dict(ABOUT), level=1, threads=2, stop=lambda: False)
    ranges = LocalRanges(str(base / "pack"))
    index = read_index(ranges, decompress, identity=("0" * 40, "1" * 40, "linux-64"))
    check_frames(ranges, index)
    (base / "out").mkdir()
    unpack(ranges, index, decompress, str(base / "out"), "/opt/env", threads=3)
    before = sorted(p.relative_to(base / "tree") for p in (base / "tree").rglob("*"))
    assert before == sorted(p.relative_to(base / "out") for p in (base / "out").rglob("*"))
    for path in before:
        one, two = base / "tree" / path, base / "out" / path
        assert one.is_symlink() == two.is_symlink()
        if one.is_file():
            assert two.read_bytes() == one.read_bytes().replace(OLD, b"/opt/env")
            assert one.stat().st_mode == two.stat().st_mode


@given(st.binary(max_size=200), st.integers(0, 1 << 40))
def test_no_bytes_are_taken_for_a_footer_by_chance(data: bytes, size: int) -> None:
    with pytest.raises(PackUnusableError):
        Footer.parse(data, size)


@given(st.integers(8, 1 << 60), st.integers(0, 1 << 40), st.integers(1, 1 << 30), st.binary(min_size=32, max_size=32))
def test_a_footer_says_what_it_was_told(offset: int, size: int, raw_size: int, digest: bytes) -> None:
    footer = Footer(offset, size, raw_size, digest.hex())
    again = Footer.parse(footer.to_bytes(), offset + size + FOOTER_BYTES)
    assert again == footer


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_no_json_is_taken_for_an_index_by_chance(document: object) -> None:
    with pytest.raises(PackUnusableError):
        Index.parse(json.dumps(document).encode(), 100)


def document(**changes: object) -> bytes:
    parts = {
        "frames": [[8, 10, 5, "0" * 64]],
        "directories": [["bin", 0o755]],
        "links": [["bin/l", "x"]],
        "files": [["bin/f", 0o644, 5]],
    }
    return json.dumps({**ABOUT, **parts, **changes}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"files": [["../f", 0o644, 5]]},
        {"files": [["/f", 0o644, 5]]},
        {"files": [["bin/./f", 0o644, 5]]},
        {"files": [["bin//f", 0o644, 5]]},
        {"files": [["bin/\0", 0o644, 5]]},
        {"files": [["bin/l/f", 0o644, 5]]},
        {"files": [["bin/l", 0o644, 5]]},
        {"files": [["other/f", 0o644, 5]]},
        {"files": [["bin/f", 0o644, 5], ["bin/f", 0o644, 0]]},
        {"files": [["bin/f", 0o644, 6]]},
        {"files": [["bin/f", 0o644, -5], ["bin/g", 0o644, 10]]},
        {"files": [["bin/f", 0o644, 5, []]]},
        {"directories": [["bin", 0o755], ["bin", 0o755]]},
        {"directories": [["a/b", 0o755], ["bin", 0o755]]},
        {"frames": [[9, 9, 5, "0" * 64]]},
        {"frames": [[8, 11, 5, "0" * 64]]},
        {"frames": [[8, 10, 5, "0"]]},
        {"frames": []},
        {"format": 2},
        {
            "frames": [[8, 4, 2, "0" * 64], [12, 6, 3, "0" * 64]],
            "files": [["bin/f", 0o644, 5, {"t": [0]}]],
        },
    ],
)  # fmt: skip
def test_an_index_that_contradicts_itself_or_would_leave_the_prefix_is_refused(changes: dict[str, object]) -> None:
    assert Index.parse(document(), 18).files[0].path == "bin/f"
    with pytest.raises(PackUnusableError):
        Index.parse(document(**changes), 18)


@pytest.mark.parametrize(("seed", "position"), [(n, p) for n in range(4) for p in (0.2, 0.6, 0.9)])
def test_a_flipped_bit_anywhere_is_found(tmp_path: Path, seed: int, position: float) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / str(number)).write_bytes(hashlib.sha256(bytes([number, seed])).digest() * 2000)
    write_pack(plan_pack(tmp_path / "tree"), tmp_path / "pack", dict(ABOUT), level=1, threads=1, stop=lambda: False)
    data = bytearray((tmp_path / "pack").read_bytes())
    data[8 + int((len(data) - 8) * position)] ^= 1 << seed
    (tmp_path / "pack").write_bytes(data)
    (tmp_path / "out").mkdir()
    ranges = LocalRanges(str(tmp_path / "pack"))
    with pytest.raises(PackUnusableError, match="damaged"):
        unpack(ranges, read_index(ranges, decompress), decompress, str(tmp_path / "out"), "/x")


def test_a_frame_that_decompresses_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    for name, size in [("more", 100), ("less", 10)]:
        stored = zstandard.compress(bytes(50))
        frame = Frame(8, len(stored), 0, size, hashlib.sha256(stored).hexdigest())
        index = Index(dict(ABOUT), [frame], [], [], [File("f", 0o644, 0, size, {})])
        (tmp_path / name).write_bytes(MAGIC + stored)
        (tmp_path / f"out-{name}").mkdir()
        with pytest.raises(PackUnusableError):
            unpack(LocalRanges(str(tmp_path / name)), index, decompress, str(tmp_path / f"out-{name}"), "/x")


def test_a_disk_that_is_too_small_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/f").write_bytes(bytes(1000))
    write_pack(plan_pack(tmp_path / "tree"), tmp_path / "pack", dict(ABOUT), level=1, threads=1, stop=lambda: False)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=999))
    (tmp_path / "out").mkdir()
    ranges = LocalRanges(str(tmp_path / "pack"))
    with pytest.raises(DiskError, match=r"does not fit .*expected \d+ free bytes, found 999"):
        unpack(ranges, read_index(ranges, decompress), decompress, str(tmp_path / "out"), "/x")
    assert list((tmp_path / "out").iterdir()) == []


def test_binary_files_keep_their_length() -> None:
    data = b"start" + OLD + b"/lib:" + OLD + b"/x\0" + bytes(40) + b"end"
    patches = {"b": [[5, 2 * len(OLD) + 7, 40]]}
    changed = patched(data, patches, OLD, b"/opt/a-much-longer-prefix-than-before-it", "linux-64", {})
    assert len(changed) == len(data)
    assert changed.endswith(b"end")
    assert b"/opt/a-much-longer-prefix-than-before-it/lib:/opt/a-much" in changed
    with pytest.raises(HydrationError, match="too long"):
        patched(data, patches, OLD, b"/" + b"x" * 60, "linux-64", {})


def test_placeholders_that_are_not_there_are_damage() -> None:
    for patches in ({"t": [1]}, {"b": [[1, 5, 0]]}):
        with pytest.raises(PackUnusableError):
            patched(b"nothing of the kind", patches, OLD, b"/x", "linux-64", {})


@pytest.mark.parametrize("style", [CONDA, WHEEL])
def test_long_interpreter_lines_are_run_by_a_shell(style: int) -> None:
    long = b"/" + b"x" * 200
    changed = patched(b"#!" + OLD + b"/bin/python -I\nbody", {"t": [2], "s": style}, OLD, long, "linux-64", {})
    assert changed.startswith(b"#!/bin/sh\n'''exec' \"" + long + b'/bin/python" -I "$0" "$@"')
    assert changed.endswith(b"\nbody")
