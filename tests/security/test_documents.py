"""Whoever may write a document, a name or a list says which packages an environment has, and nothing else.

Each attack stands in a document of the store, in an exported file or in a list, and every command that takes one is
tried: what is not ours stays as it is, the failure is one of a documented code, and other environments are not touched.
"""

import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asynccache.api import EXPORT_FORMATS, Session, Settings
from asynccache.engine.engine import Engine
from asynccache.errors import EXIT_CODES, AsyncCacheError, DiskError, HydrationError, UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.platform import current_architecture
from asynccache.node.disk import remove_below
from asynccache.ops.catalog import Catalog
from asynccache.resolve.build.source_address import read_source
from asynccache.resolve.requests.requirement_text import read_requirement
from asynccache.resolve.resolver import SourceBuild
from tests.support.hydration import cached, packages_of
from tests.support.small_channel import write_small_channel

ARCH = current_architecture()
GOOD = "synthetic/good:v1"
BAD = "synthetic/bad:v1"
LONG = "a" * 5000
VICTIM = "/victim-1-0"  # below the directory of the test
Path_ = list[str | int]


@dataclass(frozen=True)
class House:
    """A store with two environments, and beside it what nobody may touch.

    Attributes:
        root: Of everything.
        bad: Document of the one that is changed.
        key: Its object.
    """

    root: Path
    settings: Settings
    bad: dict[str, Any]
    key: Path

    def write(self, document: object) -> Path:
        """Put a document in the place of the good one; return the same as a file."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.key.chmod(0o644)
        self.key.write_bytes(data)
        file = self.root / "files" / "document.json"
        file.write_bytes(data)
        for directory in ("prefix", "cache", "here"):
            remove_below(self.root, self.root / directory)
        return file

    def untouched(self) -> bool:
        """Whether the canary is as it was, and nothing has come to be beside it."""
        names = {path.name for path in self.root.iterdir()}
        inside = sorted(str(path.relative_to(self.root)) for path in (self.root / VICTIM[1:]).rglob("*"))
        precious = (self.root / VICTIM[1:] / "sub" / "precious.txt").read_text()
        return (
            names <= {"store", "files", "cache", "here", "prefix", VICTIM[1:], "outside"}
            and inside == ["victim-1-0/sub", "victim-1-0/sub/precious.txt"]
            and precious == "precious"
            and list((self.root / "outside").iterdir()) == []
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("house")
    for directory in ("files", "outside", f"{VICTIM[1:]}/sub"):
        (root / directory).mkdir(parents=True)
    (root / VICTIM[1:] / "sub" / "precious.txt").write_text("precious")
    channel = write_small_channel(root / "files" / "ch")
    chosen = Settings(
        store=str(root / "store"), cache_dir=root / "cache", datastore_root=root / "here", username="ann",
        attempts=1, connect_timeout=0.5, retry_cap=0.05, outage_timeout=0, link_scripts=False, pack="never",
    )  # fmt: skip

    async def fill() -> tuple[ResolvedEnvironment, ResolvedEnvironment]:
        async with Engine(chosen) as engine:
            catalog = Catalog(chosen, engine.store)
            made = []
            for name, paths in ((GOOD, channel.paths[:1]), (BAD, channel.paths[:2])):
                environment = await cached(engine, packages_of(paths), note=name[:3] + name[-5])
                made.append(await catalog.publish(environment))
                await catalog.alias(str(environment.id), [name])
        return made[0], made[1]

    _good, bad = asyncio.run(fill())
    key = root / "store" / "envs" / ARCH / bad.id.req_id / bad.id.full_id / "env"
    return House(root, chosen, bad.as_document(), key)


def changed(document: dict[str, Any], path: Path_, value: object) -> dict[str, Any]:
    found = copy.deepcopy(document)
    at: Any = found
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return found


Verb = Callable[[Session, House, Path], Awaitable[object]]


async def _created(session: Session, house: House, file: Path) -> None:
    await session.create(BAD, house.root / "prefix" / "made")


async def _created_from_a_file(session: Session, house: House, file: Path) -> None:
    await session.create(str(file), house.root / "prefix" / "from-file")


async def _packed(session: Session, house: House, file: Path) -> None:
    await session.pack(BAD, level=1)


async def _warmed(session: Session, house: House, file: Path) -> None:
    (await session.warm(BAD)).raise_for_failures()


async def _warmed_from_a_file(session: Session, house: House, file: Path) -> None:
    (await session.warm(str(file))).raise_for_failures()


async def _imported(session: Session, house: House, file: Path) -> None:
    (await session.import_environment(file, names=["synthetic/again:v1"])).raise_for_failures()


async def _cached(session: Session, house: House, file: Path) -> None:
    (await session.cache(lists=[file])).raise_for_failures()


async def _taken(session: Session, house: House, file: Path) -> None:
    await session.get(BAD)


async def _shown(session: Session, house: House, file: Path) -> None:
    (await session.show(BAD)).as_document()
    await session.diff(GOOD, BAD)


async def _exported(session: Session, house: House, file: Path) -> None:
    for fmt in EXPORT_FORMATS:
        written = await session.export(BAD, fmt)
        if fmt == "explicit":
            lines = written.text.splitlines()
            assert len(lines) == 3 + len(house.bad["packages"]), lines


VERBS: dict[str, Verb] = {
    verb.__name__[1:]: verb
    for verb in (
        _created, _created_from_a_file, _packed, _warmed, _warmed_from_a_file, _imported, _cached, _taken, _shown,
        _exported,
    )
}  # fmt: skip


async def tried(house: House, file: Path, *verbs: str) -> list[AsyncCacheError]:
    """Let verbs take the document; return how they fail."""
    failures = []
    for verb in verbs:
        async with Session(house.settings) as session:
            try:
                await VERBS[verb](session, house, file)
            except AsyncCacheError as exc:
                failures.append(exc)
    return failures


async def check_the_others(house: House) -> None:
    """Another environment of the same store is listed and can be made."""
    async with Session(house.settings) as session:
        listed = [row async for row in session.list_environments()]
        assert GOOD in [str(name) for row in listed for name in row.names]
        await session.create(GOOD, house.root / "prefix" / "good")


FILENAMES = {
    "an absolute path": "{root}" + VICTIM,
    "a parent directory": "../../victim-1-0",
    "a directory": "sub/a-1-0",
    "a slash in the version": "a-1/../../../outside-0",
    "a backslash": "..\\..\\a-1-0",
    "a NUL": "a-1-0\0",
    "a line break": "a-1-0\nb-1-0",
    "an escape sequence": "\x1b]0;a-1-0",
    "a surrogate": "a-1-\udcff",
    "a leading dash": "--config-1-0",
    "a leading dot": ".a-1-0",
    "a device": "/dev/null",
    "nothing": "",
    "no version": "a",
    "an extension": "a-1-0.conda",
    "more than a file name holds": f"{LONG}-1-0",
    "a blank": "a b-1-0",
    "a quote": "a'-1-0",
    "no ASCII": "ä-1-0",
}


@pytest.mark.parametrize("attack", FILENAMES)
async def test_a_filename_of_a_document_is_the_name_of_a_package(house: House, attack: str) -> None:
    filename = FILENAMES[attack].format(root=house.root)
    file = house.write(changed(house.bad, ["packages", 0, "filename"], filename))
    failures = await tried(house, file, "created", "created_from_a_file", "packed", "warmed")
    assert [failure.exit_code for failure in failures] == [5, 2, 5, 5]
    assert house.untouched()


TEXTS: dict[str, tuple[Path_, object]] = {
    "an address with ..": (["packages", 0, "url"], "https://h/a/../../../outside/a-1-0.conda"),
    "an address with an encoded ..": (["packages", 0, "url"], "https://h/%2e%2e/%2e%2e/a-1-0.conda"),
    "an address whose host is ..": (["packages", 0, "url"], "https://../../a-1-0.conda"),
    "an address with a line break": (["packages", 0, "url"], "https://h/x\n--hash=1/a-1-0.conda"),
    "an address of another package": (["packages", 0, "url"], "https://h/ch/noarch/other-1-0.conda"),
    "a digest that is a path": (["packages", 0, "hashes"], {".tar.bz2": "../../../victim-1-0"}),
    "a digest that is no digest": (["packages", 0, "hashes"], {"sha256": "-"}),
    "a digest of an unknown form that is a path": (["packages", 0, "hashes"], {".xyz": "../../../outside"}),
    "a key that leaves the store": (["packages", 0, "cache_info"], "../../victim-1-0/{file}"),
    "an absolute key": (["packages", 0, "cache_info"], "{root}/victim-1-0/{file}"),
    "a key of an alias": (["packages", 0, "cache_info"], "envs/aliases/generic/synthetic/good/v1"),
    "a key of another file": (["packages", 0, "cache_info"], f"packages/conda/h/{'0' * 32}/other-1-0.conda"),
    "a format that is a path": (["packages", 0, "url_format"], "/../../outside"),
    "a format of the other kind": (["packages", 0, "url_format"], ".whl"),
    "an unknown kind": (["packages", 0, "_type"], "../conda"),
    "an architecture that is a path": (["resolved_archs", 0], "../../outside"),
    "a requirement that is a flag": (["deps", 0], "conda::--prefix=/outside"),
    "a requirement with a flag": (["deps", 0], "pypi::a==1 --config-settings=x"),
    "a requirement of two lines": (["deps", 0], "pypi::a==1\n-e /outside"),
    "a channel that is a flag": (["sources", 0], "conda::--override-channels"),
    "a user that ends a line": (["resolved_by"], "ann\nroot"),
    "a time that is none": (["resolved_on"], "../.."),
    "packages that are none": (["packages"], {"a": "b"}),
}


@pytest.mark.parametrize("attack", TEXTS)
async def test_a_text_of_a_document_says_what_it_is_there_for(house: House, attack: str) -> None:
    path, value = TEXTS[attack]
    package = house.bad["packages"][0]
    if isinstance(value, str):
        value = value.replace("{root}", str(house.root))
        value = value.replace("{file}", f"{'0' * 32}/{package['filename']}{package['url_format']}")
    if path[-1] == "cache_info":
        value = {package["url_format"]: {"_type": "conda", "url": value}}
    file = house.write(changed(house.bad, path, value))
    failures = await tried(house, file, "created", "created_from_a_file", "exported")
    assert [failure.exit_code for failure in failures] == [5, 2, 5]
    assert house.untouched()


NOT_DOCUMENTS = [b"", b"\0", b"[" * 200_000, b'{"packages": ' * 50_000, b"null", b"\xff\xfe", b'{"a": NaN}']


@pytest.mark.parametrize("data", NOT_DOCUMENTS, ids=lambda data: repr(data[:12]))
async def test_one_bad_document_spoils_no_listing_and_no_other_environment(house: House, data: bytes) -> None:
    file = house.write(data)
    failures = await tried(house, file, "created", "created_from_a_file", "warmed", "taken")
    assert [failure.exit_code for failure in failures] == [5, 2, 5, 5]
    await check_the_others(house)
    async with Session(house.settings) as session:
        assert [damage.key for damage in (await session.verify()).environments.damaged] == [
            str(house.key.relative_to(house.root / "store"))
        ]


@pytest.mark.parametrize("data", [b"", b'{"packages": [', b"[" * 200_000])
@pytest.mark.parametrize("way", ["imported", "warmed_from_a_file", "quarantined"])
async def test_a_document_that_was_cut_off_is_written_anew(house: House, data: bytes, way: str) -> None:
    house.write(data)
    file = house.root / "files" / "whole.json"
    found = [ARCH, *house.key.parts[-3:-1]]
    file.write_text(json.dumps({"env_id": [*found[1:], ARCH], **house.bad}))
    if way == "quarantined":
        async with Session(house.settings) as session:
            (damage,) = (await session.verify(quarantine=True)).environments.damaged
        assert "quarantined as asynccache/quarantine/" in damage.problem
        assert not house.key.exists()
        way = "imported"
    assert await tried(house, file, way) == []
    assert json.loads(house.key.read_bytes()) == house.bad
    assert await tried(house, file, "created") == []


async def test_a_document_that_says_what_it_must_not_is_left_where_it_is_until_it_is_quarantined(house: House) -> None:
    hostile = changed(house.bad, ["packages", 0, "filename"], "../../victim-1-0")
    house.write(hostile)
    file = house.root / "files" / "whole.json"
    file.write_text(json.dumps({"env_id": [*house.key.parts[-3:-1], ARCH], **house.bad}))
    assert [failure.exit_code for failure in await tried(house, file, "imported")] == [5]
    assert json.loads(house.key.read_bytes()) == hostile
    async with Session(house.settings) as session:
        assert len((await session.verify(quarantine=True)).environments.damaged) == 1
    assert await tried(house, file, "imported") == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b'["../../victim-1-0", "x"]', b'["a"]', b"[" * 200_000, json.dumps(["0" * 40, "-" * 40]).encode()],
)
async def test_a_name_that_stands_for_nothing_is_damaged_and_spoils_no_other(house: House, data: bytes) -> None:
    file = house.write(house.bad)
    name = house.root / "store" / "envs" / "aliases" / "generic" / "synthetic" / "bad" / "v1"
    name.chmod(0o644)
    before = name.read_bytes()
    name.write_bytes(data)
    try:
        assert [failure.exit_code for failure in await tried(house, file, "created", "taken")] == [5, 5]
        await check_the_others(house)
    finally:
        name.write_bytes(before)


@pytest.mark.parametrize("text", ["Name", "a\nb", "a\x1b[2J", "-x y", "..."])
async def test_an_object_that_nobody_could_have_named_so_is_no_name(house: House, text: str) -> None:
    planted = house.root / "store" / "envs" / "aliases" / "generic" / "synthetic" / text
    planted.write_text(json.dumps([*house.key.parts[-3:-1]]))
    try:
        async with Session(house.settings) as session:
            shown = {str(name) async for row in session.list_environments() for name in row.names}
    finally:
        planted.unlink()
    assert shown >= {GOOD, BAD}
    assert all(name.isascii() and name.isprintable() and name == name.lower() for name in shown)


@pytest.mark.parametrize("arch", ["..", "linux-64\n", "-x", "noarch", ""])
def test_an_identity_has_an_architecture(arch: str) -> None:
    with pytest.raises(UsageError, match="architecture"):
        EnvID("0" * 40, "0" * 40, arch)


@pytest.mark.parametrize(
    "last", ["/victim-1-0.conda", "../../x-1-0.conda", "-x-1-0.conda", "a\nb-1-0.conda", "x\\y-1-0.conda"]
)
async def test_an_encoded_file_name_in_a_list_is_the_name_of_a_package(house: House, last: str) -> None:
    house.write(house.bad)
    file = house.root / "files" / "list.txt"
    file.write_text(f"@EXPLICIT\nhttps://127.0.0.1:1/ch/noarch/{quote(last, safe='')}\n")
    assert [failure.exit_code for failure in await tried(house, file, "imported", "cached")] == [2, 2]
    assert house.untouched()


@pytest.mark.parametrize("commit", ["--upload-pack=touch /outside", "-c", "%2D-upload-pack=x", "a b", "a%0Ab"])
def test_a_commit_is_no_flag_of_git(commit: str) -> None:
    with pytest.raises(UsageError, match="names no commit"):
        read_source(SourceBuild("a", None, f"git+https://h/a.git@{commit}"))


@pytest.mark.parametrize(
    "value", ["--index-url=https://h", "-e /x", "a==1 --hash=x", "a==1\n-r x", "a@https://h/x --pre"]
)
def test_a_requirement_is_no_flag_of_pip_or_conda(value: str) -> None:
    for category in ("pypi", "conda"):
        with pytest.raises(UsageError, match="names no package"):
            read_requirement(value, category)


REAL = [
    ("conda", "x-1!2.0+loc-h1_0", "https://h/ch/linux-64/x-1%212.0%2Bloc-h1_0.conda", ".conda"),
    ("conda", "_libgcc_mutex-0.1-conda_forge", "https://h/c/_libgcc_mutex-0.1-conda_forge.tar.bz2", ".tar.bz2"),
    ("conda", "R-base-4.0~rc1-py3.11_cuda12.1_0", "https://h/c/R-base-4.0~rc1-py3.11_cuda12.1_0.conda", ".conda"),
    ("conda", "a-1-0", "s3://bucket/chan/linux-64/a-1-0.conda", ".conda"),
    ("conda", "a-1-0", "https://h/c/a-1-0.conda;v=1", ".conda"),
    ("conda", "a-1-0", "https://h/c/a-1-0.conda", ".xyz"),
    ("pypi", "torch-2.5.0+cu124-cp311-cp311-any", "https://h/torch-2.5.0%2Bcu124-cp311-cp311-any.whl", ".whl"),
    ("pypi", "docopt-0.6.2-py2.py3-none-any", "https://h/docopt-0.6.2.tar.gz", ".tar.gz"),
    ("pypi", "bar-1.0-py3-none-any", "//_fake//httpsgithub.com/foo/bar/COMMIT", ".whl"),
    ("pypi", "b-1.0.dev1+mfbuild-py3-none-any", "ssh://_fake/github.com/a/b.git/deadbeef/sub%2Fdir", ".whl"),
    ("pypi", "foo-1.0-py3-none-any", "file://_fake//home/u/my%20pkg/foo-1.0.whl", ".whl"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "filename", "url", "fmt"), REAL)
def test_what_other_writers_record_is_read(kind: Any, filename: str, url: str, fmt: str) -> None:
    package = EnvironmentPackage(kind, filename, url, fmt, {"blake3": "any"})
    assert EnvironmentPackage.from_document(package.as_document()) == package


def test_a_format_that_nobody_knows_is_an_error_of_that_package_only() -> None:
    package = EnvironmentPackage("conda", "a-1-0", "https://h/c/a-1-0.conda", ".xyz")
    with pytest.raises(UsageError, match="has an unknown format"):
        package.to_package()


async def test_a_package_whose_own_description_names_a_path_is_not_linked(house: House) -> None:
    house.write(house.bad)
    assert await tried(house, house.key, "created") == []
    index = next((house.root / "cache" / "pkgs").glob("*/info/index.json"))
    said = json.loads(index.read_text())
    index.unlink()
    index.write_text(json.dumps({**said, "build": "0/../../../../outside/x"}))
    async with Session(house.settings) as session:
        with pytest.raises(HydrationError, match=r"info/index\.json"):
            await session.create(BAD, house.root / "prefix" / "second")
    assert house.untouched()


def test_nothing_is_removed_outside_of_the_directory_that_is_ours(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    (other / "x").mkdir(parents=True)
    (ours / "x").mkdir(parents=True)
    (ours / "link").symlink_to(other)
    for path in (other / "x", ours / ".." / "other" / "x", ours / "link" / "x", ours, tmp_path, Path("/")):
        with pytest.raises(DiskError, match="is not removed"):
            remove_below(ours, path)
    assert (other / "x").is_dir()
    remove_below(ours, ours / "link")
    remove_below(ours, ours / "x")
    assert list(ours.iterdir()) == []
    assert (other / "x").is_dir()


def commands(house: House, file: Path) -> Iterator[tuple[str, ...]]:
    yield ("create", BAD, "--prefix", str(house.root / "prefix" / "p"))
    yield ("warm", "--env", BAD)
    yield ("env", "show", BAD)
    yield ("env", "import", str(file))
    yield ("cache", "--from", str(file))


@pytest.mark.slow
def test_the_command_line_refuses_it_with_a_documented_code_and_a_sentence(house: House) -> None:
    file = house.write(changed(house.bad, ["packages", 0, "filename"], str(house.root) + VICTIM))
    program = str(Path(sys.executable).with_name("asynccache"))
    environ = {"HOME": str(house.root / "here"), "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(house.root / "here")}
    (house.root / "here").mkdir(exist_ok=True)
    for words in commands(house, file):
        place = ["--store", str(house.root / "store"), "--cache-dir", str(house.root / "cache")]
        done = subprocess.run(
            [program, *words, *place],
            cwd=house.root / "files",
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (2 if str(file) in words else 5), (words, done.stderr)
        assert "cannot be the name of a package" in done.stderr
        assert "Traceback" not in done.stderr
    assert house.untouched()


WORDS = st.one_of(
    st.sampled_from([*FILENAMES.values(), "/", "..", ".", "-", "~", "$HOME", "%2e%2e%2f", "CON", "nul", "a-1-0", LONG]),
    st.builds(
        "{}{}".format,
        st.sampled_from(["", "/", "../", "--", "https://", "file:///", "//_fake/", "conda::", "pypi::", ".", "\n"]),
        st.text(st.characters(codec=None), max_size=12),
    ),
)
VALUES = st.one_of(
    WORDS,
    st.none(),
    st.integers(),
    st.booleans(),
    st.lists(WORDS, max_size=2),
    st.dictionaries(WORDS, WORDS, max_size=2),
)
PLACES = st.one_of(
    st.tuples(
        st.just("packages"), st.integers(0, 1), st.sampled_from(["filename", "url", "url_format", "_type", "hashes"])
    ),
    st.tuples(st.just("packages"), st.integers(0, 1), st.sampled_from(["hashes", "cache_info"]), WORDS),
    st.tuples(st.just("packages"), st.integers(0, 1), st.just("cache_info"), st.just(".conda"), st.just("url")),
    st.tuples(st.sampled_from(["deps", "sources", "resolved_archs"]), st.just(0)),
    st.tuples(st.just("full_id_unique_keys"), WORDS),
    st.tuples(
        st.sampled_from(["packages", "deps", "extras", "resolved_by", "resolved_on", "resolved_archs", "env_type"])
    ),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=3),
    st.lists(st.sampled_from(sorted(VERBS)), min_size=2, max_size=2),
)
@example([(("packages", 0, "filename"), "{root}" + VICTIM)], sorted(VERBS))
@example([(("packages", 0, "hashes", ".tar.bz2"), "../../../victim-1-0")], sorted(VERBS))
def test_no_document_makes_a_command_leave_its_place(
    house: House, changes: list[tuple[tuple[Any, ...], Any]], verbs: list[str]
) -> None:
    document = house.bad
    for path, value in changes:
        shown = value.replace("{root}", str(house.root)) if isinstance(value, str) else value
        try:
            document = changed(document, list(path), shown)
        except (KeyError, TypeError, IndexError, AttributeError):
            continue  # what another change has taken away
    file = house.write(document)
    for failure in asyncio.run(tried(house, file, *verbs)):
        assert failure.exit_code in set(EXIT_CODES) - {0, 1, 70}, failure
        assert str(failure).isprintable() or "\n" in str(failure)
    assert house.untouched()
    asyncio.run(check_the_others(house))
