from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.digest import Digests
from asynccache.resolve.formats.locks import PackageList, read_package_list
from asynccache.resolve.requests.python_target import PythonTarget

FILES = "https://files.example/packages"
SHA256 = "ab" * 32


def archive(name: str, *, key: str = "url", base: str = f"{FILES}/", size: int = 10) -> str:
    return f'{{ {key} = "{base}{name}", size = {size}, hashes = {{ sha256 = "{SHA256}" }} }}'


WHEELS = [
    "numpy-2.0.0-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "numpy-2.0.0-cp311-cp311-macosx_11_0_arm64.whl",
    "numpy-2.0.0-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
    "numpy-2.0.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "numpy-2.0.0-cp311-cp311-musllinux_1_1_x86_64.whl",
    "numpy-2.0.0-cp311-cp311-win_amd64.whl",
    "numpy-2.0.0-cp39-abi3-manylinux_2_17_x86_64.whl",
    "numpy-2.0.0-py3-none-any.whl",
]
DOCUMENT = f"""\
lock-version = "1.0"
created-by = "a tool"
requires-python = ">=3.9"
environments = ["sys_platform == 'linux'", "sys_platform == 'darwin'"]
extras = ["plot"]
dependency-groups = ["dev", "docs"]
default-groups = ["dev"]

[[packages]]
name = "numpy"
version = "2.0.0"
index = "https://index.example/simple"
sdist = {archive("numpy-2.0.0.tar.gz", size=30)}
wheels = [
    {", ".join(archive(wheel, size=20 + i) for i, wheel in enumerate(WHEELS))},
]

[[packages]]
name = "appnope"
version = "0.1.4"
marker = "sys_platform == 'darwin'"
wheels = [{archive("appnope-0.1.4-py2.py3-none-any.whl")}]

[[packages]]
name = "tomli"
version = "2.0.0"
marker = "python_version < '3.11'"
wheels = [{archive("tomli-2.0.0-py3-none-any.whl")}]

[[packages]]
name = "docopt"
version = "0.6.2"
sdist = {archive("docopt-0.6.2.tar.gz")}

[[packages]]
name = "plotter"
version = "1.0"
marker = "'plot' in extras"
wheels = [{archive("plotter-1.0-py3-none-any.whl")}]

[[packages]]
name = "tester"
version = "1.0"
marker = "'dev' in dependency_groups"
archive = {archive("tester-1.0-py3-none-any.whl")}
"""


DOCOPT_REST = f'docopt-0.6.2.tar.gz", size = 10, hashes = {{ sha256 = "{SHA256}" }}'


def read(text: str = DOCUMENT, *arches: str, name: str = "pylock.toml", **selection: object) -> PackageList:
    selection.setdefault("python", "3.11")
    return read_package_list(name, text, arches=arches or ("linux-64",), **selection)  # type: ignore[arg-type]


def names(found: PackageList) -> list[str]:
    return [package.filename for package in found]


def test_the_best_wheel_or_the_sdist_of_each_package_for_the_target_is_read() -> None:
    found = read()
    assert names(found) == [WHEELS[3], "docopt-0.6.2.tar.gz", "tester-1.0-py3-none-any.whl"]
    assert found.packages[0].digests == Digests(sha256=SHA256, size=23)
    assert str(found.packages[0].url) == f"{FILES}/{WHEELS[3]}"


@pytest.mark.parametrize(
    ("arch", "python", "wheel"),
    [
        ("linux-64", "3.11.9", WHEELS[3]),
        ("linux-64", "3.10", WHEELS[0]),
        ("linux-64", "3.12", WHEELS[6]),
        ("linux-aarch64", "3.11", WHEELS[2]),
        ("osx-arm64", "3.11", WHEELS[1]),
        ("osx-64", "3.11", WHEELS[7]),
    ],
)
def test_each_target_gets_its_wheel(arch: str, python: str, wheel: str) -> None:
    assert names(read(DOCUMENT, arch, python=python))[0] == wheel


def test_markers_decide_by_platform_python_extras_and_groups() -> None:
    assert "appnope-0.1.4-py2.py3-none-any.whl" in names(read(DOCUMENT, "osx-arm64"))
    assert "tomli-2.0.0-py3-none-any.whl" in names(read(python="3.10"))
    assert "plotter-1.0-py3-none-any.whl" in names(read(extras=frozenset({"plot"})))
    assert "tester-1.0-py3-none-any.whl" not in names(read(groups=frozenset()))
    both = names(read(DOCUMENT, "linux-64", "osx-arm64"))
    assert (both.count("docopt-0.6.2.tar.gz"), len(both)) == (1, 5)


def test_the_higher_build_of_equal_wheels_is_taken() -> None:
    wheels = ", ".join(archive(f"a-1.0-{build}py3-none-any.whl") for build in ("", "2-", "10-", "9-"))
    text = f'lock-version = "1.0"\n[[packages]]\nname = "a"\nwheels = [{wheels}]\n'
    assert names(read(text)) == ["a-1.0-10-py3-none-any.whl"]


def test_a_wheel_for_a_newer_c_library_is_not_taken() -> None:
    wheels = ", ".join(archive(f"a-1.0-cp311-cp311-manylinux_2_{minor}_aarch64.whl") for minor in (99, 28, 17))
    text = f'lock-version = "1.0"\n[[packages]]\nname = "a"\nwheels = [{wheels}]\n'
    assert names(read(text, "linux-aarch64")) == ["a-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"]


def test_paths_are_relative_to_the_lock_file(tmp_path: Path) -> None:
    wheel = archive("a-1.0-py3-none-any.whl", key="path", base="../wheels/")
    text = f'lock-version = "1.0"\n[[packages]]\nname = "a"\nwheels = [{wheel}]\n'
    (package,) = read(text, name=str(tmp_path / "lock" / "pylock.toml"))
    assert str(package.url) == f"file://{tmp_path}/wheels/a-1.0-py3-none-any.whl"
    assert read(DOCUMENT, name=str(tmp_path / "pylock.dev.toml"))


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('lock-version = "1.0"', 'lock-version = "2.0"', ": pylock version 2.0 is not supported; lock again"),
        ('lock-version = "1.0"', "lock-version = 1", ": Unexpected type int (expected str) in 'lock-version'"),
        ('created-by = "a tool"', 'created-by = "a', ": not a TOML document (Illegal character '\\n' (at line 2,"),
        ("'linux'\"", "'win32'\"", ": it was not locked for linux-64 with Python 3.11: expected sys_platform"),
        ('">=3.9"', '">=3.12"', ": it does not hold for linux-64 with Python 3.11: python_full_version"),
        ('name = "docopt"\n', "", ", package 4: Missing required value in 'packages[3].name'"),
        ('name = "docopt"', 'name = "numpy"', ", package numpy: Name in 'docopt-0.6.2.tar.gz' is not consistent"),
        ("'plot' in extras", "plot in extras", ", package plotter: Expected a marker variable or quoted string"),
        ("docopt-0.6.2.tar.gz", "docopt.tar.gz", ", package docopt: Invalid sdist filename 'docopt.tar.gz'"),
        ("docopt-0.6.2.tar.gz", "docopt-0.6.2-0.tar.bz2", ", package docopt: Invalid sdist filename"),
        (
            DOCOPT_REST,
            'docopt-0.6.2.tar.gz", hashes = { sha512 = "a" }',
            ", package docopt: an archive has no digest that is checked here",
        ),
        ('.whl", size = 23', '.whl", size = -5', ", package numpy: `size` is malformed: expected a number of bytes"),
    ],
)
def test_a_wrong_entry_is_named(old: str, new: str, error: str) -> None:
    assert old in DOCUMENT
    with pytest.raises(UsageError) as caught:
        read(DOCUMENT.replace(old, new, 1))
    assert str(caught.value).startswith(f"pylock.toml{error}")


def test_a_package_without_an_archive_for_the_target_says_what_there_is() -> None:
    text = f'lock-version = "1.0"\n[[packages]]\nname = "a"\nwheels = [{archive("a-1.0-cp39-cp39-win_amd64.whl")}]\n'
    with pytest.raises(UsageError, match=r"package a: .* linux-64 with Python 3.11: .*found a-1.0-cp39-cp39-win"):
        read(text)


def test_a_package_that_is_listed_twice_for_the_target_is_named() -> None:
    twice = DOCUMENT.replace("python_version < '3.11'", "python_version < '3.12'") + (
        f'[[packages]]\nname = "tomli"\nwheels = [{archive("tomli-2.1.0-py3-none-any.whl")}]\n'
    )
    with pytest.raises(UsageError, match=r"package tomli: .* linux-64 with Python 3.11: Multiple packages"):
        read(twice)


def test_beside_wheels_an_sdist_in_a_form_of_old_does_no_harm() -> None:
    old = DOCUMENT.replace("numpy-2.0.0.tar.gz", "numpy-2.0.0.tar.bz2")
    assert names(read(old)) == names(read())


@pytest.mark.parametrize(
    ("table", "location", "subdirectory"),
    [
        (f"archive = {archive('v1.0.tar.gz')}", f"{FILES}/v1.0.tar.gz", ""),
        (f"archive = {archive('main.zip')}", f"{FILES}/main.zip", ""),
        (
            f'archive = {{ subdirectory = "x", {archive("plain-1.0.tar.gz")[1:]}',
            f"{FILES}/plain-1.0.tar.gz",
            "x",
        ),
    ],
)
def test_an_archive_that_bears_another_name_is_built_under_the_locks(
    table: str, location: str, subdirectory: str
) -> None:
    text = f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "plain"\nversion = "1.0"\n{table}\n'
    found = read(text, skip_sources=True)
    assert not found.packages
    build = found.trees[0].build()
    assert (build.name, build.version, build.location, build.subdirectory) == ("plain", "1.0", location, subdirectory)
    assert (build.sha256, build.size) == (SHA256, 10)


def test_unknown_extras_and_groups_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="not all the extras asked for: expected gpu, found plot"):
        read(extras=frozenset({"gpu", "plot"}))
    with pytest.raises(UsageError, match="not all the dependency groups asked for: expected x, found dev, docs"):
        read(groups=frozenset({"x"}))


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ('vcs = { type = "git", url = "https://me:hunter2@git.example/a.git", commit-id = "0a" }', "repository"),
        ('directory = { path = ".", editable = true }', "directory"),
    ],
)
def test_source_trees_are_refused_or_left_out(entry: str, what: str) -> None:
    text = f'{DOCUMENT}\n[[packages]]\nname = "mine"\n{entry}\n'
    with pytest.raises(UsageError, match=rf"package mine: .* is a source {what}, which has no archive") as caught:
        read(text)
    found = read(text, skip_sources=True)
    assert (len(found), len(found.skipped)) == (3, 1)
    assert "hunter2" not in str(caught.value) + found.skipped[0]


def test_an_architecture_without_wheels_is_refused() -> None:
    with pytest.raises(UsageError, match="no wheels are made"):
        PythonTarget("osx-32", "3.11")


KEYS = st.sampled_from(["name", "marker", "wheels", "sdist", "vcs", "requires-python"])
VALUES = st.sampled_from([None, 1, "x", [], ["x"], {"url": 1}])


@given(st.dictionaries(KEYS, VALUES))
def test_no_entry_raises_anything_but_a_usage_error(entry: dict[str, object]) -> None:
    lines = [f"{key} = {_toml(value)}" for key, value in entry.items() if value is not None]
    with pytest.raises(UsageError):
        read('lock-version = "1.0"\n[[packages]]\n' + "\n".join(lines))


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + " }"
    return str(value).replace("'", '"') if not isinstance(value, str) else f'"{value}"'


@pytest.mark.parametrize("platform", [("linux", "linux-64"), ("aarch64-apple-darwin", "osx-arm64")])
def test_a_lock_that_another_tool_wrote_is_read(platform: tuple[str, str], tmp_path: Path) -> None:
    tool = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if tool is None:
        pytest.skip("no uv to write a lock with")
    (tmp_path / "requirements.in").write_text("requests\nnumpy\n")
    command = [tool, "pip", "compile", "--quiet", "--format", "pylock.toml", "--python-version", "3.11"]
    command += ["--python-platform", platform[0], "requirements.in", "--output-file", "pylock.toml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode:
        pytest.skip(f"uv cannot reach an index: {result.stderr[-200:]}")
    path = tmp_path / "pylock.toml"
    found = read(path.read_text(), platform[1], name=str(path))
    by_name = {package.name.name: package for package in found}
    assert {"requests", "numpy", "urllib3", "certifi", "idna"} <= by_name.keys()
    assert all(package.digests.sha256 for package in found)
    assert ("macosx" if platform[1].startswith("osx") else "manylinux") in by_name["numpy"].stem
