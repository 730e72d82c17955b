"""Every verb that wants an environment takes every kind of name, and each of them means the same."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.engine.engine import Engine
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.hydrate.prefix import environment_name, triple
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from asynccache.node.environments import find_complete
from asynccache.ops.catalog import Catalog
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import cached, packages_of


@dataclass
class Bed:
    """A session, and one environment that is known by every kind of name and made as `train`."""

    session: Session
    environment: ResolvedEnvironment
    directory: Path

    @property
    def env_id(self) -> EnvID:
        return self.environment.id

    def text(self, kind: str) -> str:
        """Return a name of the environment."""
        req_id, full_id = self.env_id.req_id, self.env_id.full_id
        return {
            "alias": "team/env:v1",
            "alias that moves": "team/env",
            "ids": f"{req_id}:{full_id}",
            "ids, shortened": f"{req_id[:12]}:{full_id[:12]}",
            "full id": full_id,
            "full id, shortened": full_id[:8],
            "step": "Flow/1/train",
            "step, marked": "step:Flow/1/train",
            "run": "Flow/1",
            "flow": "Flow",
            "prefix by name": "train",
            "prefix by path": str(self.session.settings.cache_dir / "envs/train"),
            "prefix by relative path": os.path.relpath(self.session.settings.cache_dir / "envs/train"),
            "document": str(self.directory / "env.json"),
        }[kind]


KINDS = [
    "alias",
    "alias that moves",
    "ids",
    "ids, shortened",
    "full id",
    "full id, shortened",
    "step",
    "step, marked",
    "run",
    "flow",
    "prefix by name",
    "prefix by path",
    "prefix by relative path",
    "document",
]


def _record(datastore: Path, env_id: EnvID) -> None:
    """Write down, as Metaflow does, that steps of a run used an environment."""
    for step in ("train", "end"):
        place = datastore / f".metaflow/Flow/1/{step}/2/_meta/sysmeta_conda_env_id_0.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"ts_epoch": 1, "value": json.dumps(env_id.as_list())}))
    (datastore / ".metaflow/Flow/latest_run").write_text("1")


@pytest.fixture
async def bed(tmp_path: Path, configured: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bed]:
    monkeypatch.chdir(tmp_path)
    settings = replace(configured, datastore_root=tmp_path)
    paths = []
    for name in "ab":
        built = tmp_path / "built"
        built.mkdir(exist_ok=True)
        paths += write_package(
            built, Metadata(name=name, version="1.0", build="0"), [Member(f"share/{name}", b"1")], (Format.CONDA,)
        )
    async with Engine(settings) as engine:
        environment = await cached(engine, packages_of(sorted(built.glob("*.conda"))))
        catalog = Catalog(settings, engine.store)
        await catalog.publish(environment)
        await catalog.alias(str(environment.id), ["team/env:v1", "team/env:latest"])
    _record(tmp_path, environment.id)
    (tmp_path / "env.json").write_bytes(environment.to_json())
    async with Session(settings) as session:
        await session.create(environment, name="train")
        yield Bed(session, environment, tmp_path)


async def _removed(bed: Bed, text: str) -> object:
    done = await bed.session.remove(text)
    done.raise_for_failures()
    return [path.name for path in done.prefixes]


async def _kept(bed: Bed, text: str) -> object:
    os.utime(bed.session.settings.cache_dir / "envs/train/.metaflowenv", (1, 1))
    cleaned = await bed.session.clean(keep=[text])
    return [r.path for r in cleaned.removed if r.kind == "environment"]


Verb = Callable[[Bed, str], Awaitable[object]]
VERBS: dict[str, tuple[Verb, Callable[[Bed], object]]] = {}


def _verb(name: str, act: Verb, right: Callable[[Bed], object]) -> None:
    VERBS[name] = (act, right)


async def _find(bed: Bed, text: str) -> object:
    return (await bed.session.find(text)).id


async def _show(bed: Bed, text: str) -> object:
    return (await bed.session.show(text)).environment.id


async def _get(bed: Bed, text: str) -> object:
    return [e.id for e in (await bed.session.get(text)).environments]


async def _alias(bed: Bed, text: str) -> object:
    given = await bed.session.alias(text, "team/another:v1")
    given.raise_for_failures()
    return given.ids


async def _diff(bed: Bed, text: str) -> object:
    return len(list((await bed.session.diff(text, "team/env:v1")).marked()))


async def _export(bed: Bed, text: str) -> object:
    return (await bed.session.export(text)).text.count(".conda#")


async def _warm(bed: Bed, text: str) -> object:
    warmed = await bed.session.warm(text)
    warmed.raise_for_failures()
    return [e.id for e in warmed.environments]


async def _create(bed: Bed, text: str) -> object:
    return (await bed.session.create(text)).hydrated.id


async def _run(bed: Bed, text: str) -> object:
    return (await bed.session.run(text, ["true"])).words[-1]


async def _shell(bed: Bed, text: str) -> object:
    return (await bed.session.shell(text, shell="/bin/sh")).words[-1]


async def _pack(bed: Bed, text: str) -> object:
    return [packed.id for packed in await bed.session.pack(text)]


async def _on_disk(bed: Bed, text: str) -> object:
    return [(e.name, e.called) for e in await bed.session.on_disk(text)]


_verb("find", _find, lambda bed: bed.env_id)
_verb("show", _show, lambda bed: bed.env_id)
_verb("get", _get, lambda bed: [bed.env_id])
_verb("alias", _alias, lambda bed: (bed.env_id.req_id, bed.env_id.full_id))
_verb("diff", _diff, lambda _bed: 0)
_verb("export", _export, lambda _bed: 2)
_verb("warm", _warm, lambda bed: [bed.env_id])
_verb("create", _create, lambda bed: bed.env_id)
_verb("run", _run, lambda _bed: "true")
_verb("shell", _shell, lambda _bed: "-i")
_verb("pack", _pack, lambda bed: [bed.env_id])
_verb("on_disk", _on_disk, lambda _bed: [("train", "train")])
_verb("remove", _removed, lambda _bed: ["train"])
_verb("clean", _kept, lambda _bed: [])


@pytest.mark.parametrize("kind", KINDS)
async def test_every_verb_takes_a_name_of_this_kind(bed: Bed, kind: str) -> None:
    text = bed.text(kind)
    for name, (act, right) in VERBS.items():
        if not (bed.session.settings.cache_dir / "envs/train").exists():
            await bed.session.create(bed.environment, name="train")
        expected = right(bed)
        assert await act(bed, text) == expected, name
        for path in (bed.session.settings.cache_dir / "envs").glob("metaflow*"):
            await bed.session.remove(str(path))


async def test_a_shortened_id_of_two_environments_is_refused_with_both(bed: Bed) -> None:
    other = replace(bed.environment, id=replace(bed.env_id, full_id=bed.env_id.full_id[:20] + "0" * 20))
    await bed.session.create(other, name="other")

    with pytest.raises(UsageError, match=r"is short for 2 environments: expected more digits, found"):
        await bed.session.find(bed.env_id.full_id[:20])


@pytest.mark.parametrize("text", ["team/none:v1", "0" * 12, "0" * 40, "None/1/x", "./none", "/none/x", "nothing"])
async def test_what_is_known_under_no_kind_of_name_is_not_found(bed: Bed, text: str) -> None:
    (bed.directory / "none").mkdir()
    with pytest.raises(ObjectNotFoundError):
        await bed.session.find(text)
    removed = await bed.session.remove(text)
    assert list(removed.failed) == [text]


async def test_the_name_of_a_directory_comes_before_an_alias_only_where_the_directory_is_used(bed: Bed) -> None:
    other = replace(bed.environment, id=replace(bed.env_id, full_id="c" * 40))
    async with Engine(bed.session.settings) as engine:
        catalog = Catalog(bed.session.settings, engine.store)
        await catalog.publish(other)
        await catalog.alias(str(other.id), ["train:latest"])

    assert (await bed.session.find("train")).id == other.id
    assert (await bed.session.run("train", ["true"])).prefix.name == "train"
    assert (await bed.session.create("train", name="train2")).hydrated.id == other.id
    assert (await bed.session.create("train")).name == "train:latest"  # `run train` means the directory


@pytest.mark.parametrize(("made", "wanted"), [("step", "tmp"), ("tmp", "step")])
async def test_an_environment_that_is_complete_under_the_other_name_is_used(bed: Bed, made: str, wanted: str) -> None:
    first = await bed.session.create(bed.environment, kind=made)  # type: ignore[arg-type]
    second = await bed.session.create(bed.environment, kind=wanted)  # type: ignore[arg-type]

    assert first.prefix.name == environment_name(bed.env_id, made)  # type: ignore[arg-type]
    assert (second.prefix, second.created) == (first.prefix, False)
    for kind in ("step", "tmp"):
        place = first.prefix.with_name(environment_name(bed.env_id, kind))
        assert find_complete(str(place), triple(bed.env_id)) == str(first.prefix)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("alias", "team/env:v1"),
        ("alias that moves", "team/env"),
        ("step", "Flow/1/train"),
        ("ids", "team/env:v1"),
        ("document", "team/env:v1"),
        ("prefix by path", "team/env:v1"),
    ],
)
async def test_what_was_created_is_told_by_the_shortest_name_that_works(bed: Bed, kind: str, shown: str) -> None:
    created = await bed.session.create(bed.text(kind))

    assert created.name == shown
    assert (await bed.session.run(created.name, ["true"])).prefix == created.prefix


async def test_without_an_alias_the_shortest_name_is_the_beginning_of_the_id(bed: Bed, tmp_path: Path) -> None:
    settings = replace(bed.session.settings, datastore_root=tmp_path / "elsewhere")  # where no name is known
    async with Session(settings) as session:
        created = await session.create(bed.environment)
        assert created.name == bed.env_id.full_id[:12]
        assert (await session.run(created.name, ["true"])).prefix == created.prefix
        assert [e.called for e in await session.on_disk()] == [created.name, "train"]
        assert (await session.create(bed.environment, "there")).name == "./there"


async def test_removing_by_an_alias_removes_every_place_that_holds_the_environment(bed: Bed) -> None:
    await bed.session.create(bed.environment)
    await bed.session.create(bed.environment, bed.directory / "there")

    done = await bed.session.remove("team/env:v1", "team/none:v1")

    assert len(done.prefixes) == 3
    assert await bed.session.on_disk() == []
    with pytest.raises(ObjectNotFoundError, match="no environment team/none:v1 is on this machine"):
        done.raise_for_failures()


async def test_an_architecture_is_said_once_for_all_kinds_of_names(bed: Bed) -> None:
    other = "osx-arm64" if current_architecture() != "osx-arm64" else "linux-64"
    for kind in ("alias", "ids", "prefix by name"):
        with pytest.raises(ObjectNotFoundError, match=f"is not available for {other}: expected --arch"):
            await bed.session.find(bed.text(kind), arch=other)
