from __future__ import annotations

import pytest

from asynccache.errors import UsageError
from asynccache.resolve import ListFormat, Selection, read_package_list
from asynccache.resolve.package_list import recognise

URL = "https://conda.example/ch/noarch/a-1.0-0.conda"


@pytest.mark.parametrize(
    ("name", "text", "fmt"),
    [
        ("pixi.lock", "", ListFormat.PIXI_LOCK),
        ("/some/where/dev.pixi.lock", "", ListFormat.PIXI_LOCK),
        ("conda-lock.yml", "", ListFormat.CONDA_LOCK),
        ("gpu.conda-lock.yaml", "", ListFormat.CONDA_LOCK),
        ("pylock.toml", "", ListFormat.PYLOCK),
        ("pylock.dev.toml", "", ListFormat.PYLOCK),
        ("-", "# by a tool\n@EXPLICIT\n", ListFormat.EXPLICIT),
        ("-", 'lock-version = "1.0"\ncreated-by = "x"\n', ListFormat.PYLOCK),
        ("-", "version: 6\nenvironments:\n  default:\npackages:\n- conda: x\n", ListFormat.PIXI_LOCK),
        ("-", "version: 1\nmetadata:\n  platforms: []\npackage:\n- name: a\n", ListFormat.CONDA_LOCK),
        ("-", f"# list\n\n{URL}\n", ListFormat.URLS),
        ("list.txt", "a-1.0-0.conda\n", ListFormat.URLS),
        ("-", "six @ https://h.example/six-1.0-py3-none-any.whl\n", ListFormat.URLS),
        ("-", "# nothing\n", ListFormat.URLS),
    ],
)
def test_a_format_is_recognised_by_name_or_content(name: str, text: str, fmt: ListFormat) -> None:
    assert recognise(name, text) is fmt


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ('version = 1\n[[package]]\nname = "a"\n', "a uv.lock or poetry.lock"),
        ("name: x\ndependencies:\n- numpy\n", "an environment.yml"),
        ('[project]\nname = "x"\n', "a manifest"),
        ("numpy==1.26\npandas>=2\n", "a list of requirements"),
    ],
)
def test_what_is_no_list_of_archives_is_named(text: str, other: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_package_list("file", text)
    assert str(caught.value).startswith(f"file: it looks like {other}: expected @EXPLICIT, conda-lock.yml")


def test_an_unknown_format_says_what_can_be_read() -> None:
    with pytest.raises(UsageError, match=r"standard input: its format is unknown: expected @EXPLICIT"):
        read_package_list("-", "<html>")


def test_a_byte_order_mark_does_no_harm() -> None:
    assert len(read_package_list("-", "\ufeff@EXPLICIT\n" + URL)) == 1


def test_only_a_pixi_lock_has_environments() -> None:
    with pytest.raises(UsageError, match=r"environment was asked for \('test'\), which only a pixi.lock has"):
        read_package_list("-", URL, environment="test")


def test_an_impossible_selection_is_refused() -> None:
    with pytest.raises(UsageError, match="found 'linux'"):
        Selection(arches=("linux",))
    with pytest.raises(UsageError, match=r"expected 3\.N or 3\.N\.M, found 'three'"):
        Selection(python="three")


@pytest.mark.timeout(10)
def test_a_hostile_list_is_refused_quickly() -> None:
    for text in (
        "environments:\n" * 100_000,
        "a\n" * 500_000 + "!",
        "x: &a [" * 5_000,
        "a: " + "[" * 1_000_000,
        "- " * 300_000,
        "a[" * 100_000,
    ):
        with pytest.raises(UsageError):
            read_package_list("-", text)
        with pytest.raises(UsageError):
            read_package_list("pixi.lock", text)
