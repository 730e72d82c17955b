"""A packed environment is the environment that its packages make, byte by byte, and damage in it is never unpacked."""

import hashlib
import json
import marshal
import os
import stat
import subprocess
from dataclasses import replace
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.events import Event, SourceFailed
from asynccache.errors import HydrationError, IntegrityError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.hydrated import HydrateOptions
from asynccache.hydrate.pack import pack
from asynccache.hydrate.pack_find import pack_key
from asynccache.hydrate.unpack import unpack_environment, verify_pack
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from asynccache.node import pack_format as packs
from asynccache.store.memory import MemoryStore
from tests.support.channel import Channel
from tests.support.conda_package import MODIFIED, Member, Metadata, write_package
from tests.support.hydration import cached, channel_paths, packages_of
from tests.support.wheels import write_wheel

MACHINE = ("extracted_package_dir", "package_tarball_full_path", "link")
COUNTED = {"conda-meta/history"}


def run(*command: str | Path) -> str:
    clean = {"PATH": os.defpath, "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=100, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(prefix: Path) -> dict[str, Any]:
    """Return path -> (type, mode, link target or digest), byte code and what is true of one machine left out."""
    found: dict[str, Any] = {}
    for path in sorted(prefix.rglob("*")):
        name = path.relative_to(prefix).as_posix()
        if "__pycache__" in name or name in COUNTED:
            continue
        about = path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", stat.S_IMODE(about.st_mode))
        else:
            data = path.read_bytes()
            if name.startswith("conda-meta/") and name.endswith(".json"):
                record = json.loads(data)
                data = json.dumps({k: v for k, v in record.items() if k not in MACHINE}).encode()
            found[name] = ("file", stat.S_IMODE(about.st_mode), hashlib.sha256(data).hexdigest())
    return found


@pytest.fixture
async def mixed(engine: Engine, real_channel: Channel, tmp_path: Path) -> ResolvedEnvironment:
    """The small channel, and a wheel with a command and a file that is not in any frame alone."""
    (tmp_path / "wheels").mkdir()
    wheel = write_wheel(
        tmp_path / "wheels", "greeting", entry_points="[console_scripts]\ngreet = greeting:VERSION.isalpha\n"
    )
    return await cached(engine, packages_of([*channel_paths(real_channel), wheel]))


@pytest.mark.parametrize(
    "name",
    [
        "env",
        pytest.param("env-" + "long-" * 25, marks=pytest.mark.long),
        pytest.param("env with space", marks=pytest.mark.long),
    ],
)
async def test_a_packed_environment_is_what_its_packages_make(
    engine: Engine, mixed: ResolvedEnvironment, tmp_path: Path, name: str
) -> None:
    await pack(engine.host, engine.sources, mixed, level=1)
    packed = await hydrate(engine.host, engine.sources, mixed, tmp_path / name, packed=unpack_environment)
    assert packed.packed
    unpacked = content(tmp_path / name)
    digests = _recorded(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "aside")
    plain = await hydrate(engine.host, engine.sources, mixed, tmp_path / name)
    assert not plain.packed
    assert unpacked == content(tmp_path / name)
    assert digests > 3


async def test_byte_code_that_a_package_brings_is_kept_and_outdated_one_made_anew(
    engine: Engine, real_channel: Channel, tmp_path: Path
) -> None:
    subdir, place = current_architecture(), "lib/python3.11/site-packages"
    (tmp_path / subdir).mkdir()
    members = []
    for name, since in (("brought", 0), ("outdated", 1)):
        source = f"VALUE = '{name}: source'\n"
        code = marshal.dumps(compile(source.replace("source", "packed"), f"{name}.py", "exec"))
        head = [0, MODIFIED - since, len(source)]
        pyc = MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in head) + code
        members += [
            Member(f"{place}/{name}.py", source.encode()),
            Member(f"{place}/__pycache__/{name}.cpython-311.pyc", pyc),
        ]
    metadata = Metadata(name="brings", version="1", subdir=subdir)
    (path,) = write_package(tmp_path / subdir, metadata, members, [Format.CONDA])
    environment = await cached(engine, packages_of([*channel_paths(real_channel), path]))
    assert (await pack(engine.host, engine.sources, environment, level=1)).bytecode == "3.11"
    prefix = (
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env", packed=unpack_environment)
    ).prefix
    program = "import brought, outdated; print(brought.VALUE, outdated.VALUE, sep=', ')"
    assert run(prefix / "bin/python", "-B", "-c", program).strip() == "brought: packed, outdated: source"


def _recorded(prefix: Path) -> int:
    """Check digests that conda-meta and RECORD give of files with a prefix in them; return how many."""
    count = 0
    for path in (prefix / "conda-meta").glob("*.json"):
        for entry in json.loads(path.read_bytes())["paths_data"]["paths"]:
            if entry.get("prefix_placeholder"):
                assert hashlib.sha256((prefix / entry["_path"]).read_bytes()).hexdigest() == entry["sha256_in_prefix"]
                count += 1
    return count


async def test_it_runs_from_where_it_is_and_is_compiled(
    engine: Engine, mixed: ResolvedEnvironment, tmp_path: Path
) -> None:
    made = await pack(engine.host, engine.sources, mixed, level=1)
    assert made.bytecode == "3.11"
    prefix = (await hydrate(engine.host, engine.sources, mixed, tmp_path / "env", packed=unpack_environment)).prefix
    program = (
        "import sys, requests, six, greeting\n"
        "print(sys.prefix, six.__cached__, six.iteritems.__code__.co_filename, len(sys.flags))"
    )
    where, compiled, source, _flags = run(prefix / "bin/python", "-B", "-c", program).split()
    assert where == str(prefix)
    assert Path(compiled).is_file()
    assert Path(compiled).read_bytes()[4:8] == b"\1\0\0\0"
    assert source == str(Path(compiled).parents[1] / "six.py")
    assert run(prefix / "bin/feature-entry-point").strip() == "it runs"
    run(prefix / "bin/greet")
    assert packs.PREFIX.encode() not in (prefix / "bin/greet").read_bytes()
    assert (prefix / "var/feature-post-link.txt").read_text() == "feature-post-link 1.0\n"
    names = run(
        prefix / "bin/python", "-c", "import importlib.metadata as m; print([d.name for d in m.distributions()])"
    )
    assert "greeting" in names
    assert "requests" in names


@pytest.mark.long
async def test_the_same_packages_give_the_same_bytes(engine: Engine, mixed: ResolvedEnvironment) -> None:
    first = await pack(engine.host, engine.sources, mixed, level=1)
    data = (Path(engine.store.address) / first.key).read_bytes()
    again = await pack(engine.host, engine.sources, mixed, level=1)
    assert (again.created, again.digest) == (False, first.digest)
    forced = await pack(engine.host, engine.sources, mixed, level=1, force=True)
    assert (forced.created, forced.digest) == (True, first.digest)
    assert (Path(engine.store.address) / first.key).read_bytes() == data


@pytest.mark.long
async def test_nothing_of_this_machine_is_in_a_pack(engine: Engine, mixed: ResolvedEnvironment, tmp_path: Path) -> None:
    await pack(engine.host, engine.sources, mixed, level=1)
    await hydrate(engine.host, engine.sources, mixed, tmp_path / "env", packed=unpack_environment)
    for path in (tmp_path / "env").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert str(engine.host.settings.cache_dir / "work").encode() not in path.read_bytes(), path
    assert list((engine.host.settings.cache_dir / "work").glob("pack-*")) == []


@pytest.mark.long
async def test_another_architecture_is_packed_without_running_anything(
    engine: Engine, mixed: ResolvedEnvironment, tmp_path: Path
) -> None:
    foreign = replace(mixed, id=replace(mixed.id, arch="osx-arm64"))
    made = await pack(engine.host, engine.sources, foreign, level=1)
    assert made.key == pack_key(foreign.id)
    assert "/osx-arm64/" in made.key
    assert made.bytecode == "3.11"
    done = await hydrate(engine.host, engine.sources, foreign, tmp_path / "mac", packed=unpack_environment)
    assert done.packed
    assert (tmp_path / "mac/lib/python3.11/site-packages/six.py").is_file()


@pytest.mark.long
async def test_a_prefix_too_long_for_a_binary_file_is_refused_before_anything_is_written(
    engine: Engine, mixed: ResolvedEnvironment, tmp_path: Path
) -> None:
    await pack(engine.host, engine.sources, mixed, level=1)
    place = tmp_path / ("x" * 150) / ("y" * 150) / "env"
    with pytest.raises(HydrationError, match=r"too long .*expected at most 255 bytes, found \d+"):
        await hydrate(engine.host, engine.sources, mixed, place, packed=unpack_environment)
    assert not place.exists()


@pytest.mark.parametrize("damage", ["frame", "index", "footer", "truncated", "empty", "appended", "other"])
async def test_a_damaged_pack_is_told_and_packages_are_taken(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event], damage: str
) -> None:
    made = await pack(engine.host, engine.sources, tiny, level=1)
    path = Path(engine.store.address) / made.key
    data = bytearray(path.read_bytes())
    footer = packs.Footer.parse(bytes(data[-packs.FOOTER_BYTES :]), len(data))
    if damage == "frame":
        data[100] ^= 1
    elif damage == "index":
        data[footer.offset + 20] ^= 1
    elif damage == "footer":
        data[-1] ^= 1
    elif damage == "truncated":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data = bytearray(b"x")
    elif damage == "appended":
        data += b"x"
    else:
        data[-packs.FOOTER_BYTES + 10] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError):
        await verify_pack(engine.host, engine.store, tiny.id)
    events.clear()
    done = await hydrate(engine.host, engine.sources, tiny, tmp_path / "env", packed=unpack_environment)
    assert (done.created, done.packed) == (True, False)
    told = [e for e in events if isinstance(e, SourceFailed)]
    assert len(told) == 1
    assert "damaged" in told[0].reason
    assert (tmp_path / "env/lib/libfeature.so").exists()
    await pack(engine.host, engine.sources, tiny, level=1, force=True)
    assert await verify_pack(engine.host, engine.store, tiny.id)
    again = await hydrate(
        engine.host,
        engine.sources,
        tiny,
        tmp_path / "env",
        packed=unpack_environment,
        options=HydrateOptions(force=True),
    )
    assert again.packed


async def test_a_pack_of_another_environment_is_not_taken(
    engine: Engine, tiny: ResolvedEnvironment, real_channel: Channel, tmp_path: Path, events: list[Event]
) -> None:
    made = await pack(engine.host, engine.sources, tiny, level=1)
    other = await cached(engine, packages_of(channel_paths(real_channel, "feature-activate")), note="other")
    root = Path(engine.store.address)
    (root / pack_key(other.id)).parent.mkdir(parents=True, exist_ok=True)
    (root / pack_key(other.id)).write_bytes((root / made.key).read_bytes())
    done = await hydrate(engine.host, engine.sources, other, tmp_path / "env", packed=unpack_environment)
    assert not done.packed
    assert "of another environment" in next(e for e in events if isinstance(e, SourceFailed)).reason


async def test_packs_are_not_read_when_the_settings_say_never(
    settings: Settings, engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    await pack(engine.host, engine.sources, tiny, level=1)
    async with Engine(replace(settings, pack="never")) as other:
        assert not (await hydrate(other.host, other.sources, tiny, tmp_path / "env", packed=unpack_environment)).packed


@pytest.mark.long
async def test_a_store_that_is_no_directory_is_asked_a_few_times(
    settings: Settings, real_channel: Channel, tmp_path: Path
) -> None:
    async with MemoryStore() as store, Engine(settings, store=store) as engine:
        environment = await cached(engine, packages_of(channel_paths(real_channel)))
        await pack(engine.host, engine.sources, environment, level=1)
        assert await verify_pack(engine.host, engine.store, environment.id)
        before = store.requests
        assert (
            await hydrate(engine.host, engine.sources, environment, tmp_path / "env", packed=unpack_environment)
        ).packed
        assert store.requests - before <= 1 + 1 + 8  # how long it is, its index, two ranges for each of four threads
    assert run(tmp_path / "env/bin/python", "-c", "import requests; print('yes')").strip() == "yes"


async def test_large_files_lie_in_several_frames(engine: Engine, real_channel: Channel, tmp_path: Path) -> None:
    environment = await cached(engine, packages_of(channel_paths(real_channel, "feature-large-file")))
    await pack(engine.host, engine.sources, environment, level=1)
    plain = (await hydrate(engine.host, engine.sources, environment, tmp_path / "plain")).prefix
    packed = await hydrate(engine.host, engine.sources, environment, tmp_path / "packed", packed=unpack_environment)
    assert packed.packed
    assert {k: v for k, v in content(plain).items() if "meta" not in k} == {
        k: v for k, v in content(packed.prefix).items() if "meta" not in k
    }
