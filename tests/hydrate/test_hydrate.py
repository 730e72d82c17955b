"""Hydrating gives a working environment at its place, whole or not at all, and finds one that is there."""

import asyncio
import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.events import Event, Fetched, LocksUnsupported, PackageExtracted
from asynccache.errors import HydrationError
from asynccache.hydrate import prefix as places
from asynccache.hydrate.hydrate import hydrate, prefix_for
from asynccache.hydrate.hydrated import HydrateOptions
from asynccache.model.environment import ResolvedEnvironment
from tests.support.channel import Channel, cached_channel
from tests.support.file_locks import without_file_locks
from tests.support.hydration import cached, channel_paths, packages_of


def run(*command: str | Path, ok: tuple[int, ...] = (0,)) -> str:
    """Run a program of an environment with nothing of this process's Python around it."""
    clean = {"PATH": os.defpath, "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=100, env=clean)
    assert done.returncode in ok, done.stderr
    return done.stdout


def hidden(directory: Path) -> list[str]:
    return [p.name for p in directory.iterdir() if p.name.startswith(".")]


async def test_an_environment_runs_and_names_its_own_prefix(
    engine: Engine, small: ResolvedEnvironment, tmp_path: Path
) -> None:
    done = await hydrate(engine.host, engine.sources, small, tmp_path / "env")
    assert (done.created, done.waited, done.packed) == (True, False, False)
    python = tmp_path / "env/bin/python"
    assert run(python, "-c", "import sys, requests, six; print(sys.prefix)").strip() == str(tmp_path / "env")
    assert run(tmp_path / "env/bin/feature-entry-point").strip() == "it runs"
    assert run(tmp_path / "env/bin/feature-prefix-text").startswith(f"root = {tmp_path}/env\n")
    assert json.loads((tmp_path / "env/.metaflowenv").read_text()) == small.id.as_list()
    assert hidden(tmp_path) == []
    assert not (tmp_path / "env/.asynccache-building").exists()


async def test_every_feature_of_packages_arrives(engine: Engine, small: ResolvedEnvironment, tmp_path: Path) -> None:
    prefix = (await hydrate(engine.host, engine.sources, small, tmp_path / "env")).prefix
    share = prefix / "share"
    assert (share / "feature-symlinks/directory").readlink() == Path("real")
    assert (share / "feature-symlinks/dangling").is_symlink()
    assert (share / "feature-symlinks/up").read_bytes() == b"\0a library, nearly"
    binary = (share / "feature-prefix-binary/data.bin").read_bytes()
    own = os.fsencode(prefix)
    assert binary.count(own) == 3
    assert b"/lib:" + own + b"/share\0" in binary
    assert binary.endswith(b"\0end")
    assert (share / "feature-names/naïve ☃ file.txt").read_bytes() == b"snow"
    assert (share / "feature-names/empty").read_bytes() == b""
    assert (prefix / "var/feature-post-link.txt").read_text() == "feature-post-link 1.0\n"
    assert (share / "feature-hardlinks/two").read_bytes() == b"same" * 1000
    assert len(list((share / "feature-many-files").rglob("*.txt"))) == 200
    assert (prefix / "etc/conda/activate.d/feature-activate.sh").exists()


async def test_a_script_whose_interpreter_line_would_be_too_long_runs(
    engine: Engine, small: ResolvedEnvironment, tmp_path: Path
) -> None:
    prefix = tmp_path / ("long-" * 20)
    await hydrate(engine.host, engine.sources, small, prefix)
    assert len(str(prefix)) > 127
    assert run(prefix / "bin/feature-prefix-text").startswith(f"root = {prefix}\n")
    assert run(prefix / "bin/feature-entry-point").strip() == "it runs"


async def test_conda_meta_tells_the_truth(engine: Engine, small: ResolvedEnvironment, tmp_path: Path) -> None:
    prefix = (await hydrate(engine.host, engine.sources, small, tmp_path / "env")).prefix
    records = {p.name: json.loads(p.read_bytes()) for p in (prefix / "conda-meta").glob("*.json")}
    assert set(records) == {f"{p.filename}.json" for p in small.packages}
    for package in small.packages:
        record = records[f"{package.filename}.json"]
        assert record["url"] == package.url
        assert record["fn"] == package.filename + package.url_format
        assert record["md5"] == package.published_hash
        assert Path(record["extracted_package_dir"], "info/index.json").exists()
        assert all(os.path.lexists(prefix / path) for path in record["files"])
    assert (prefix / "conda-meta/history").exists()
    assert stat.S_IMODE((prefix / "conda-meta" / next(iter(records))).stat().st_mode) & 0o444 == 0o444


@pytest.mark.slow
@pytest.mark.long
async def test_every_package_of_the_full_channel_imports(engine: Engine, tmp_path: Path) -> None:
    environment = await cached(engine, packages_of(channel_paths(cached_channel("full"))))
    prefix = (await hydrate(engine.host, engine.sources, environment, tmp_path / "env")).prefix
    program = (
        "import importlib, importlib.metadata as m\n"
        "names = {n for n, d in m.packages_distributions().items() if n.isidentifier() and not n.startswith('_')}\n"
        "for name in sorted(names): importlib.import_module(name)\n"
        "import pandas; print(len(names), pandas.DataFrame({'a': [1, 2]}).a.sum())"
    )
    count, total = run(prefix / "bin/python", "-I", "-W", "ignore", "-c", program).split()
    assert int(count) >= 25
    assert total == "3"


async def test_an_environment_that_is_there_is_used_at_once(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    first = await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    os.utime(first.prefix / ".metaflowenv", (1, 1))
    (first.prefix / "mine").touch()
    events.clear()
    again = await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    assert (again.created, again.prefix, events) == (False, first.prefix, [])
    assert (first.prefix / "mine").exists()
    assert (first.prefix / ".metaflowenv").stat().st_mtime > 1000


async def test_a_second_environment_takes_from_the_node_what_it_shares(
    engine: Engine, real_channel: Channel, tiny: ResolvedEnvironment, tmp_path: Path, events: list[Event]
) -> None:
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "one")
    names = ("feature-symlinks", "feature-names", "feature-activate")
    other = await cached(engine, packages_of(channel_paths(real_channel, *names)), note="other")
    events.clear()
    done = await hydrate(engine.host, engine.sources, other, tmp_path / "two")
    assert [e.package for e in events if isinstance(e, PackageExtracted)] == ["feature-activate-1.0-h0_0"]
    assert [e.package for e in events if isinstance(e, Fetched)] == ["feature-activate-1.0-h0_0.tar.bz2"] or len(
        [e for e in events if isinstance(e, Fetched)]
    ) == 1
    assert done.link_type in {"hardlink", "clone", "copy"}
    shared = [(tmp_path / name / "lib/libfeature.so.1.0").stat().st_ino for name in ("one", "two")]
    assert done.link_type != "hardlink" or shared[0] == shared[1]


async def test_another_environment_at_the_place_is_refused_and_replaced_by_force(
    engine: Engine, real_channel: Channel, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    other = await cached(engine, packages_of(channel_paths(real_channel, "feature-activate")), note="other")
    with pytest.raises(HydrationError, match=r"exists already: expected .*--force"):
        await hydrate(engine.host, engine.sources, other, tmp_path / "env")
    assert (tmp_path / "env/lib/libfeature.so").exists()
    done = await hydrate(engine.host, engine.sources, other, tmp_path / "env", options=HydrateOptions(force=True))
    assert done.created
    assert not (tmp_path / "env/lib/libfeature.so").exists()
    assert places.read_marker(tmp_path / "env") == other.id
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
async def test_what_is_no_environment_is_never_removed(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path, force: bool
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("years of work")
    (tmp_path / "file").touch()
    for name, reason in (("home", "is no environment"), ("file", "is no directory")):
        with pytest.raises(HydrationError, match=reason):
            await hydrate(engine.host, engine.sources, tiny, tmp_path / name, options=HydrateOptions(force=force))
    assert (tmp_path / "home/thesis.txt").read_text() == "years of work"


async def test_an_empty_directory_is_filled(engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    assert (await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")).created


async def test_an_incomplete_environment_under_a_name_that_says_its_ids_is_made_anew(
    engine: Engine, tiny: ResolvedEnvironment
) -> None:
    place = engine.host.settings.cache_dir / "envs" / f"metaflow_{tiny.id.req_id}_{tiny.id.full_id}"
    (place / "conda-meta").mkdir(parents=True)
    (place / "half").touch()
    assert await prefix_for(engine.host, engine.sources, tiny, kind="step") == place
    assert not (place / "half").exists()
    assert places.read_marker(place) == tiny.id


async def test_environments_of_the_other_program_are_found_by_their_names(
    engine: Engine, tiny: ResolvedEnvironment, events: list[Event]
) -> None:
    names = {"step": "metaflow_", "tmp": "metaflowtmp_", "builder": "metaflow_builder_"}
    for kind, start in names.items():
        place = engine.host.settings.cache_dir / "envs" / f"{start}{tiny.id.req_id}_{tiny.id.full_id}"
        place.mkdir(parents=True)
        (place / ".metaflowenv").write_text(json.dumps(tiny.id.as_list()))
        assert await prefix_for(engine.host, engine.sources, tiny, kind=kind) == place  # type: ignore[arg-type]
        assert sorted(p.name for p in place.iterdir()) == [".metaflowenv"]


@pytest.mark.parametrize(("made", "wanted"), [("step", "tmp"), ("tmp", "step")])
async def test_steps_and_create_take_what_the_other_made_and_force_makes_its_own(
    engine: Engine, tiny: ResolvedEnvironment, made: places.PrefixKind, wanted: places.PrefixKind
) -> None:
    prefix = await prefix_for(engine.host, engine.sources, tiny, kind=made)
    assert await prefix_for(engine.host, engine.sources, tiny, kind=wanted) == prefix
    place = prefix.with_name(places.environment_name(tiny.id, wanted))
    assert not place.exists()
    done = await hydrate(engine.host, engine.sources, tiny, place, options=HydrateOptions(force=True))
    assert (done.created, done.prefix) == (True, place)


async def test_where_files_cannot_be_locked_those_at_once_end_with_one_environment(
    engine: Engine, small: ResolvedEnvironment, tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch)
    async with Engine(engine.host.settings) as other:
        made = await asyncio.gather(
            *(hydrate(each.host, each.sources, small, tmp_path / "env") for each in (engine, other))
        )
    assert sorted(done.created for done in made) in ([False, True], [True, True])
    assert {done.prefix for done in made} == {tmp_path / "env"}
    assert run(tmp_path / "env/bin/python", "-c", "import six; print(six.__name__)").strip() == "six"
    assert hidden(tmp_path) == []
    said = [event.directory for event in events if isinstance(event, LocksUnsupported)]
    assert sorted(said) == sorted(set(said))
    assert {str(tmp_path), str(tmp_path / "cache/locks")} <= set(said)


async def test_what_a_dead_process_left_beside_the_place_is_removed(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    for name in (".env.asynccache-dead", ".env.asynccache-unlocked", ".other.asynccache-young"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / ".env.asynccache-dead/.asynccache-building").touch()
    await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    assert hidden(tmp_path) == [".other.asynccache-young"]


async def test_an_environment_whose_scripts_were_cut_short_is_made_anew(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    (tmp_path / "env/conda-meta").mkdir(parents=True)
    (tmp_path / "env/.asynccache-building").touch()
    assert (await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")).created


async def test_link_scripts_run_only_when_the_settings_allow(
    settings: Settings, real_channel: Channel, tmp_path: Path
) -> None:
    async with Engine(replace(settings, link_scripts=False)) as engine:
        environment = await cached(engine, packages_of(channel_paths(real_channel, "feature-post-link")))
        done = await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
        assert not (done.prefix / "var").exists()
        assert done.notes == ("the link scripts of feature-post-link-1.0-h0_0 were not run: the settings say so",)
        foreign = replace(environment, id=replace(environment.id, arch="osx-arm64"))
        options = HydrateOptions(link_scripts=True)
        done = await hydrate(engine.host, engine.sources, foreign, tmp_path / "mac", options=options)
        assert "they are for osx-arm64" in done.notes[0]


async def test_byte_code_is_made_on_request_and_names_the_final_place(
    engine: Engine, small: ResolvedEnvironment, tmp_path: Path
) -> None:
    plain = (await hydrate(engine.host, engine.sources, small, tmp_path / "plain")).prefix
    assert list(plain.rglob("*.pyc")) == []
    prefix = (
        await hydrate(engine.host, engine.sources, small, tmp_path / "env", options=HydrateOptions(bytecode=True))
    ).prefix
    program = "import six; print(six.__cached__, six.iteritems.__code__.co_filename)"
    cached_file, source = run(prefix / "bin/python", "-B", "-c", program).split()
    assert Path(cached_file).exists()
    assert source == str(Path(cached_file).parents[1] / "six.py")
    assert Path(source).is_relative_to(prefix)


async def test_a_cancelled_creation_leaves_nothing(engine: Engine, small: ResolvedEnvironment, tmp_path: Path) -> None:
    for stage in (0.0, 0.02, 0.05, 0.1, 0.2):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(stage):
                await hydrate(engine.host, engine.sources, small, tmp_path / "env", options=HydrateOptions(force=True))
        assert hidden(tmp_path) == []
        assert not (tmp_path / "env").exists() or places.read_marker(tmp_path / "env") == small.id
        assert list((tmp_path / "cache/work").glob("*")) == []


def _python_of(versions: Sequence[str]) -> list[str]:
    roots = (Path(os.environ.get("PYENV_ROOT", "/nowhere")), Path(sys.base_prefix).parents[1])
    found = []
    for version in versions:
        candidates = [p for root in roots for p in sorted(root.glob(f"versions/{version}*/bin/python{version}"))]
        found += [str(p) for p in candidates[:1]]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("version", [pytest.param("3.9", marks=pytest.mark.long), "3.12"])
async def test_environments_of_other_pythons_are_hydrated_by_this_one(
    engine: Engine, tmp_path: Path, version: str
) -> None:
    from asynccache.model.package import Format
    from asynccache.model.platform import current_architecture
    from tests.support.conda_package import write_package
    from tests.support.feature_packages import entry_points
    from tests.support.python_package import describe_interpreter, python_members, python_metadata
    from tests.support.wheels import write_wheel

    pythons = _python_of([version])
    if not pythons:
        pytest.skip(f"no Python {version} on this machine")
    interpreter = describe_interpreter(pythons[0])
    (tmp_path / "built").mkdir()
    metadata = python_metadata(interpreter, current_architecture())
    write_package(tmp_path / "built", metadata, python_members(interpreter), (Format.CONDA,), level=1)
    write_package(tmp_path / "built", *entry_points(), (Format.CONDA,))
    wheel = write_wheel(
        tmp_path / "built", "greeting", entry_points="[console_scripts]\ngreet = greeting:VERSION.isalpha\n"
    )
    paths = [*sorted((tmp_path / "built").glob("*.conda")), wheel]
    environment = await cached(engine, packages_of(paths))
    prefix = (
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env", options=HydrateOptions(bytecode=True))
    ).prefix
    program = "import sys, ssl, sqlite3, greeting, feature_entry_point; print(sys.version_info[:2], greeting.VERSION)"
    assert run(prefix / "bin/python", "-c", program).strip() == f"({version.replace('.', ', ')}) 1.0"
    assert run(prefix / "bin/feature-entry-point").strip() == "it runs"
    assert run(prefix / "bin/greet") == ""
    assert (prefix / f"lib/python{version}/site-packages/greeting/__pycache__").is_dir()
