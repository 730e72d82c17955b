from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import rattler
import zstandard

from asynccache.errors import FetchError, UsageError
from asynccache.model.package import Format
from tests.support import channel as channel_module
from tests.support.channel import PROFILES, Channel, build_channel, cached_channel, fingerprint, load_channel
from tests.support.channel_index import read_index_json
from tests.support.conda_package import PLACEHOLDER, Blocks, Member, Metadata, write_package
from tests.support.fault_server import FaultServer
from tests.support.python_package import describe_interpreter, python_members
from tests.support.synthetic_packages import lognormal_sizes, write_synthetic_channel


@pytest.fixture(scope="module")
def channel() -> Channel:
    return cached_channel("small")


def run(python: Path, program: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


async def install(channel: Channel, prefix: Path, cache: Path, *specs: str) -> None:
    async with FaultServer(channel.root) as server:
        zero = rattler.BuildString("0")
        virtual = [
            rattler.GenericVirtualPackage(rattler.PackageName("__glibc"), rattler.Version("2.36"), zero),
            rattler.GenericVirtualPackage(rattler.PackageName("__unix"), rattler.Version("0"), zero),
        ]
        records = await rattler.solve(
            [rattler.Channel(server.url)],
            list(specs),
            gateway=rattler.Gateway(cache_dir=cache / "index"),
            platforms=[rattler.Subdir(channel.subdir), rattler.Subdir("noarch")],
            virtual_packages=virtual,
        )
        await rattler.install(
            records, prefix, cache_dir=cache / "packages", show_progress=False, execute_link_scripts=True
        )


@pytest.mark.slow
async def test_an_installed_environment_starts_from_its_own_prefix(channel: Channel, tmp_path: Path) -> None:
    prefix = tmp_path / "environment"
    features = ("feature-metapackage", "feature-entry-point", "feature-post-link", "feature-names")
    await install(channel, prefix, tmp_path / "cache", "python", "requests", "six", *features)
    program = "import sys, requests, six, ssl, sqlite3, ctypes; print(sys.prefix); print(requests.__file__)"
    where, module = run(prefix / "bin" / "python", program).splitlines()
    assert Path(where) == prefix
    assert Path(module).is_relative_to(prefix)
    assert run(prefix / "bin" / "feature-entry-point", "") == "it runs"
    assert str(prefix) in run(prefix / "bin" / "feature-prefix-text", "")
    assert (prefix / "var" / "feature-post-link.txt").read_text() == "feature-post-link 1.0\n"
    if sys.platform == "linux":
        loaded = run(prefix / "bin" / "python", "print(open('/proc/self/maps').read())")
        prefix_of_builder = describe_interpreter(sys.executable).prefix
        assert prefix_of_builder in {"/usr", "/usr/local"} or prefix_of_builder not in loaded


def test_every_digest_and_record_in_the_index_is_that_of_the_file(channel: Channel) -> None:
    assert {package.subdir for package in channel.packages} == {channel.subdir, "noarch"}
    for package in channel.packages:
        data = package.path.read_bytes()
        assert package.record["sha256"] == hashlib.sha256(data).hexdigest()
        assert package.record["md5"] == hashlib.md5(data).hexdigest()
        assert package.record["size"] == len(data)
        assert read_index_json(package.path).items() <= package.record.items()
        stem = f"{package.record['name']}-{package.record['version']}-{package.record['build']}"
        assert package.path.name.removesuffix(".conda").removesuffix(".tar.bz2") == stem


def test_the_compressed_index_is_the_plain_one(channel: Channel) -> None:
    directory = channel.root / "noarch"
    packed = (directory / "repodata.json.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompress(packed) == (directory / "repodata.json").read_bytes()


def test_the_small_channel_has_both_formats_and_the_features(channel: Channel) -> None:
    names = {package.name for package in channel.packages}
    assert names >= {"python", "requests", "six", "tzdata", "urllib3", "feature-symlinks", "feature-post-link"}
    suffixes = [package.path.suffix for package in channel.packages]
    assert min(suffixes.count(".conda"), suffixes.count(".bz2")) >= 8
    once = channel.one_format()
    assert len({(package.subdir, *map(package.record.get, ("name", "build"))) for package in once}) == len(once)
    assert [package.path.suffix for package in channel.one_format("python")] == [".conda"]


def test_a_second_use_finds_the_first_one(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "build_channel", None)
    assert cached_channel("small") == channel


def test_the_fingerprint_depends_on_profile_and_interpreter(tmp_path: Path) -> None:
    small = fingerprint(PROFILES["small"])
    assert small == fingerprint(PROFILES["small"])
    assert small != fingerprint(PROFILES["full"])
    assert fingerprint(PROFILES["small"], sys.executable) == small


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected small or full, found 'tiny'"):
        cached_channel("tiny")


def test_an_unreachable_index_is_named_as_the_cause_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(FetchError, match="package index pip is configured with") as caught:
        cached_channel("small", cache=tmp_path)
    assert "secret" not in str(caught.value)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def _use_channel(cache: Path) -> str:
    return str(cached_channel("small", cache=cache).root)


@pytest.mark.slow
@pytest.mark.long
def test_processes_at_once_build_it_once_and_clear_what_a_killed_one_left(tmp_path: Path) -> None:
    name = f"channel-{fingerprint(PROFILES['small'])}"
    leftover = tmp_path / f"{name}.building-1"
    leftover.mkdir()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        roots = pool.map(_use_channel, [tmp_path] * 2)
    assert set(roots) == {str(tmp_path / name)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.lock"]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("executable", ["/usr/bin/python3", sys.executable])
def test_a_staged_interpreter_imports_from_its_own_site_packages(tmp_path: Path, executable: str) -> None:
    if not Path(executable).exists():
        pytest.skip(f"no {executable}")
    interpreter = describe_interpreter(executable)
    metadata = Metadata(name="python", version=interpreter.version, subdir="linux-64")
    path = write_package(tmp_path, metadata, python_members(interpreter), [Format.TAR_BZ2])[0]
    prefix = tmp_path / "prefix"
    with tarfile.open(path) as archive:
        archive.extractall(prefix, filter="fully_trusted")
    module = prefix / interpreter.site_packages_path / "staged_module.py"
    module.write_text("VALUE = 42\n")
    program = (
        "import json, sys, sysconfig, staged_module, ssl, ctypes, hashlib\n"
        "print(json.dumps([sys.prefix, staged_module.VALUE, sys.path]))"
    )
    where, value, places = json.loads(run(prefix / "bin" / "python", program))
    assert (Path(where), value) == (prefix, 42)
    assert all(Path(place).is_relative_to(prefix) for place in places if place)


@pytest.mark.slow
@pytest.mark.long
async def test_the_full_channel_has_compiled_packages_that_import(tmp_path: Path) -> None:
    channel = cached_channel("full")
    assert len(channel.one_format()) >= 40
    prefix = tmp_path / "environment"
    await install(channel, prefix, tmp_path / "cache", "python", "pandas", "aiohttp", "pydantic", "pyyaml", "rich")
    program = "import numpy, pandas, aiohttp, pydantic, yaml, rich; print(pandas.DataFrame({'a': [1, 2]}).a.sum())"
    assert run(prefix / "bin" / "python", program) == "3"


def test_a_killed_build_is_not_taken_for_a_channel(tmp_path: Path) -> None:
    name = f"channel-{fingerprint(PROFILES['small'])}"
    half = tmp_path / f"{name}.building-{os.getpid()}"
    (half / "noarch").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        load_channel(half)
    with pytest.raises(FileExistsError):
        build_channel(half, PROFILES["small"])


def test_members_survive_in_both_formats(tmp_path: Path) -> None:
    def generate() -> list[bytes]:
        return [b"a" * 1000, b"b" * 500]

    members = [
        Member("share/one", b"1" * 70_000, executable=True),
        Member("share/two", hardlink="share/one"),
        Member("lib/link", symlink="../share/one"),
        Member("share/naïve ☃", b""),
        Member("share/blocks", Blocks(1500, lambda: iter(generate()))),
        Member("etc/x", f"at {PLACEHOLDER}".encode()),
    ]
    metadata = Metadata(name="thing", version="1.0", subdir="linux-64")
    conda, tar_bz2 = write_package(tmp_path, metadata, members, [Format.CONDA, Format.TAR_BZ2])

    def describe(archive: tarfile.TarFile) -> dict[str, tuple[bytes, int, str, bytes]]:
        return {
            entry.name: (entry.type, entry.mode, entry.linkname, archive.extractfile(entry).read())  # type: ignore[union-attr]
            if entry.isreg()
            else (entry.type, entry.mode, entry.linkname, b"")
            for entry in archive
        }

    parts: dict[str, tuple[bytes, int, str, bytes]] = {}
    with zipfile.ZipFile(conda) as container:
        for name in container.namelist()[1:]:
            with (
                container.open(name) as file,
                zstandard.ZstdDecompressor().stream_reader(file) as stream,
                tarfile.open(fileobj=stream, mode="r|") as archive,
            ):
                parts |= describe(archive)
    with tarfile.open(tar_bz2) as archive:
        assert describe(archive) == parts
    assert parts["share/blocks"][3] == b"".join(generate())
    assert parts["share/two"][2] == "share/one"
    entries = {entry["_path"]: entry for entry in json.loads(parts["info/paths.json"][3])["paths"]}
    assert entries["lib/link"]["sha256"] == entries["share/two"]["sha256"] == hashlib.sha256(b"1" * 70_000).hexdigest()
    assert entries["etc/x"]["file_mode"] == "text"
    (tmp_path / "again").mkdir()
    again = write_package(tmp_path / "again", metadata, members, [Format.CONDA, Format.TAR_BZ2])
    assert [path.read_bytes() for path in again] == [conda.read_bytes(), tar_bz2.read_bytes()]


def test_synthetic_channels_repeat_for_the_same_seed(tmp_path: Path) -> None:
    sizes = lognormal_sizes(6, median=40_000, seed=3)
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        paths = write_synthetic_channel(tmp_path / str(number), sizes, seed=seed)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])
    assert [path.suffix for path in paths] == [".bz2", ".conda"] * 3
    loaded = load_channel(tmp_path / "0")
    assert sum(package.record["size"] for package in loaded.packages) < sum(sizes)


def test_synthetic_content_compresses_as_published_packages_do(tmp_path: Path) -> None:
    paths = write_synthetic_channel(tmp_path / "channel", [4 << 20] * 2)
    for path in paths:
        assert 3.0 < (4 << 20) / path.stat().st_size < 4.5
