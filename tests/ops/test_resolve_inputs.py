"""Files and options amount to requests: kinds of files, merging, bases, sources, and wrong input told apart."""

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache import api
from asynccache.catalog.export import export
from asynccache.config import Settings
from asynccache.errors import ConfigurationError, ObjectNotFoundError, PartialFailureError, UsageError
from asynccache.model.package import Package
from asynccache.ops.catalog import Catalog
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_files import resolve_files
from asynccache.ops.resolve_inputs import InputFile, Inputs, input_format, wanted_of
from asynccache.ops.resolve_request import ResolveOptions, Wanted, publication_limit
from asynccache.resolve.formats.locks import read_package_list
from asynccache.resolve.requests.assemble import Machine
from asynccache.resolve.resolver import Problem
from tests.ops.resolve_table import ARCH, TableResolver, found
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel
from tests.support.tiny_channel import write_tiny_channel

MACHINE = Machine("3.11.7", detected=(), pip_entries=())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache", datastore_root=tmp_path / "here")


async def ask(settings: Settings, inputs: Inputs) -> Wanted:
    return await wanted_of(inputs, settings, Catalog(settings, None), machine=MACHINE)


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("requirements.txt", "https://h/a.whl", "requirements.txt"),
        ("ci/requirements-dev.in", "", "requirements.txt"),
        ("requirements.txt", "a @ https://h/a-1.0-py3-none-any.whl", "requirements.txt"),
        ("requirements.txt", f"a @ https://h/a-1.0-py3-none-any.whl \\\n --hash=sha256:{'0' * 64}", "list of URLs"),
        ("-", f"https://h/noarch/a-1.0-0.conda#{'0' * 32}", "list of URLs"),
        ("deps", "numpy", "requirements.txt"),
        ("-", "a @ https://h/a-1.0-py3-none-any.whl", "requirements.txt"),
        ("-", "", "requirements.txt"),
        ("-", "--pre", "requirements.txt"),
        ("environment.yaml", "dependencies: [a]", "environment.yml"),
        ("env.yml", "version: 1\npackage:\n- name: a\n", "conda-lock.yml"),
        ("pyproject.toml", "[project]", "pyproject.toml"),
        ("other.toml", "[project]", "pyproject.toml"),
        ("pylock.toml", "", "pylock.toml"),
        ("pylock.gpu.toml", "", "pylock.toml"),
        ("x.toml", 'lock-version = "1.0"\n', "pylock.toml"),
        ("uv.lock", "", "uv.lock"),
        ("conda-lock.yml", "", "conda-lock.yml"),
        ("pixi.lock", "", "pixi.lock"),
        ("-", "# made\n@EXPLICIT\nhttps://h/a.conda", "@EXPLICIT"),
    ],
)
def test_a_file_is_what_its_name_says_else_what_it_holds(path: str, text: str, name: str) -> None:
    assert input_format(InputFile(path), text).name == name


def test_a_file_is_what_an_option_says_it_is() -> None:
    assert input_format(InputFile("-", "environment.yml"), "numpy").name == "environment.yml"
    with pytest.raises(UsageError, match=r"^standard input: it is a requirements.txt, which says what is wanted"):
        input_format(InputFile("-", "lock"), "numpy")
    with pytest.raises(UsageError, match=r"^poetry.lock: it is a poetry.lock or pdm.lock, which is not read"):
        input_format(InputFile("poetry.lock"), "")


@pytest.mark.parametrize("fmt", ["explicit", "conda-lock", "pixi-lock", "json"])
async def test_resolving_finds_in_a_lock_what_importing_it_takes(settings: Settings, tmp_path: Path, fmt: str) -> None:
    urls = [f"https://h/{ARCH}/python-3.11.7-h_0.conda#{'0' * 32}", f"https://h/noarch/a-1-0.tar.bz2#{'1' * 32}"]
    packages = [Package.from_url(url) for url in urls]
    path = tmp_path / "file"
    path.write_text(export(environment_of(packages, arch=ARCH), fmt).text)
    wanted = await ask(settings, Inputs((InputFile(str(path)),), arches=(ARCH,)))
    assert wanted.lock is not None
    found = await wanted.lock.resolve(Problem(wanted.asked[ARCH].request, ARCH, "conda-only"))
    taken = read_package_list(str(path), path.read_text(), arches=(ARCH,)).packages
    assert [(p.url, p.published_hash) for p in found.packages] == [(str(p.url), p.digests.md5) for p in taken]
    assert taken


async def test_two_files_are_merged_and_the_type_is_that_of_both(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text("channels: [mine]\ndependencies: [native, tool=1]\n")
    (tmp_path / "r.txt").write_text("six>=1\n")
    files = (InputFile(str(tmp_path / "r.txt")), InputFile(str(tmp_path / "e.yml")))
    wanted = await ask(settings, Inputs(files, arches=(ARCH, ARCH, "osx-arm64"), python="3.11.*"))
    assert list(wanted.asked) == [ARCH, "osx-arm64"]
    asked = wanted.asked[ARCH]
    assert asked.environment_type == "mixed"
    assert asked.request.deps["conda"] == ["native", "tool==1", "python==3.11.*"]
    assert asked.request.deps["pypi"] == ["six==>=1"]
    assert asked.request.sources == {"conda": ["mine", "conda-forge"], "pypi": ["https://pypi.org/simple"]}
    assert asked.request.req_id == wanted.asked["osx-arm64"].request.req_id


async def test_what_a_single_equals_sign_means_is_said_and_can_be_set(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "e.yml"
    path.write_text("dependencies: [a=1.26, b==1.26, c=1.2.3, d=1.0=py_0, e=1.*]\n")
    inputs = Inputs((InputFile(str(path)),), arches=(ARCH,), python="3.11.*")
    exact = (await ask(settings, inputs)).asked[ARCH]
    assert exact.request.deps["conda"][:3] == ["a==1.26", "b==1.26", "c==1.2.3"]
    (note,) = [note for note in exact.notes if "`=` is exactly this version" in note]
    assert "so: a=1.26; write a=1.26.* for those, or set conda_equals" in note
    fuzzy = (await ask(replace(settings, conda_equals="fuzzy"), inputs)).asked[ARCH]
    assert fuzzy.request.deps["conda"][:5] == ["a==1.26.*", "b==1.26", "c==1.2.3.*", "d==1.0=py_0", "e==1.*"]
    assert not [note for note in fuzzy.notes if "`=`" in note]


async def test_without_a_python_that_of_the_running_interpreter_is_asked_for(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "r.txt").write_text("six\n")
    wanted = await ask(settings, Inputs((InputFile(str(tmp_path / "r.txt")),)))
    (asked,) = wanted.asked.values()
    assert asked.request.deps["conda"] == ["python==3.11.7"]
    assert asked.environment_type == "pypi-only"


async def test_an_environment_is_found_for_any_architecture_when_only_its_requirements_count(
    settings: Settings, channel: SyntheticChannel
) -> None:
    environment = environment_of(channel.packages("http://h", 3), "a", "python==3.11.*")
    catalog = Catalog(settings, None)
    await catalog.keep([environment])
    name = str(environment.id)
    wanted = await wanted_of(Inputs(source=name, arches=("osx-arm64",)), settings, catalog, machine=MACHINE)
    assert wanted.asked["osx-arm64"].request.deps["conda"] == ["a", "python==3.11.*"]
    with pytest.raises(ObjectNotFoundError, match="is not available for osx-arm64"):
        await wanted_of(Inputs(using=name, arches=("osx-arm64",)), settings, catalog, machine=MACHINE)
    with pytest.raises(ObjectNotFoundError, match="no environment is known as"):
        await wanted_of(Inputs(source="team/x:v1"), settings, catalog, machine=MACHINE)


async def test_wrong_input_of_one_environment_does_not_hide_the_others(
    settings: Settings, channel: SyntheticChannel, tmp_path: Path
) -> None:
    (tmp_path / "good.yml").write_text("dependencies: [a, b]\n")
    (tmp_path / "bad.txt").write_text("six\n-e .\n")
    table = TableResolver({"a": found(channel.packages("http://h", 2))})
    inputs = [Inputs((InputFile(str(tmp_path / name)),)) for name in ("bad.txt", "good.yml", "absent.yml")]
    async with Opening(settings) as opening:
        resolved = await resolve_files(
            opening, inputs, options=ResolveOptions(dry_run=True), choose=table, machine=MACHINE
        )
    assert [row.environment is not None for row in resolved.rows] == [False, True, False]
    with pytest.raises(PartialFailureError, match="2 of 3 environments failed") as failure:
        resolved.raise_for_failures()
    first, second = failure.value.errors.values()
    assert isinstance(first, UsageError)
    assert "bad.txt" in str(first)
    assert "2" in str(first)
    assert "cannot be read (No such file or directory)" in str(second)
    assert [first.exit_code, second.exit_code] == [2, 9]


def test_a_day_counts_to_its_end_and_a_time_has_a_zone() -> None:
    assert str(publication_limit("2026-01-31")) == "2026-02-01 00:00:00+00:00"
    assert str(publication_limit("2026-01-31T10:00")) == "2026-01-31 10:00:00+00:00"
    assert str(publication_limit("2026-01-31T10:00:00+02:00")) == "2026-01-31 10:00:00+02:00"
    assert publication_limit(None) is None
    with pytest.raises(ConfigurationError, match="exclude_newer is no date"):
        publication_limit("soon")


async def test_a_malformed_date_is_that_environments_failure(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text("dependencies: [a, b]\n")
    async with Opening(replace(settings, exclude_newer="soon")) as opening:
        resolved = await resolve_files(
            opening,
            [Inputs((InputFile(str(tmp_path / "good.yml")),))],
            options=ResolveOptions(dry_run=True),
            choose=TableResolver({}),
            machine=MACHINE,
        )
    with pytest.raises(ConfigurationError, match="exclude_newer is no date"):
        resolved.raise_for_failures()


async def test_the_function_of_the_api_does_what_the_command_does(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = write_tiny_channel(tmp_path / "channel")
    (tmp_path / "environment.yml").write_text("dependencies: [app, native]\n")
    (tmp_path / "other.yml").write_text("dependencies: [extra, native]\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    async with FaultServer(channel) as server:
        chosen = replace(settings, channels=[server.url], conda_dependency_resolver="rattler")
        other = api.Inputs((api.InputFile(str(tmp_path / "other.yml")),), python="3.10.*", arches=(ARCH, "osx-arm64"))
        first = api.Inputs((api.InputFile(str(tmp_path / "environment.yml")),), python="3.11.*", arches=(ARCH,))
        async with api.Session(chosen) as session:
            resolved = await session.resolve(first, other)
        resolved.raise_for_failures()
        assert [row.arch for row in resolved.rows] == [ARCH, ARCH, "osx-arm64"]
        assert all(row.published for row in resolved.rows)
        async with api.Session(chosen) as session:
            readiness = await session.warm(str(resolved.environments[0].id), to="remote", arches=[ARCH])
            readiness.raise_for_failures()
            url = resolved.environments[1].packages[0].url
            assert (await session.cache(url)).hits == 1
