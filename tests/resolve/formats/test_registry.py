from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asynccache.errors import UsageError
from asynccache.model.digest import Digests
from asynccache.resolve.formats import registry
from asynccache.resolve.formats.locks import lock_format, read_package_list
from asynccache.resolve.formats.registry import FORMATS, FileFormat, format_names, read_requirements
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.requests.source_position import SourcePosition, package_at

URL = "https://conda.example/ch/noarch/a-1.0-0.conda"
POETRY = '[[package]]\nname = "a"\n[metadata]\nlock-version = "2.0"\ncontent-hash = "00"\n'


@pytest.mark.parametrize(
    ("name", "text", "fmt"),
    [
        ("pixi.lock", "", "pixi.lock"),
        ("/some/where/dev.pixi.lock", "", "pixi.lock"),
        ("conda-lock.yml", "", "conda-lock.yml"),
        ("gpu.conda-lock.yaml", "", "conda-lock.yml"),
        ("pylock.toml", "", "pylock.toml"),
        ("pylock.dev.toml", "", "pylock.toml"),
        ("uv.lock", "", "uv.lock"),
        ("-", 'version = 1\nrevision = 2\n\n[[package]]\nname = "a"\n', "uv.lock"),
        ("-", "# by a tool\n@EXPLICIT\n", "@EXPLICIT"),
        ("-", 'lock-version = "1.0"\ncreated-by = "x"\n', "pylock.toml"),
        ("-", "version: 6\nenvironments:\n  default:\npackages:\n- conda: x\n", "pixi.lock"),
        ("-", "version: 1\nmetadata:\n  platforms: []\npackage:\n- name: a\n", "conda-lock.yml"),
        ("e.json", '{"packages": [], "resolved_archs": []}', "exported document"),
        ("-", f"# list\n\n{URL}\n", "list of URLs"),
        ("list.txt", "a-1.0-0.conda\n", "list of URLs"),
        ("-", "six @ https://h.example/six-1.0-py3-none-any.whl\n", "list of URLs"),
        ("requirements.txt", "six @ https://h.example/six-1.0-py3-none-any.whl\n", "list of URLs"),
        ("-", "# nothing\n", "list of URLs"),
    ],
)
def test_a_lock_is_recognised_by_name_or_content(name: str, text: str, fmt: str) -> None:
    assert lock_format(name, text).name == fmt


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("poetry.lock", "", "it is a poetry.lock or pdm.lock, which is not read; write a pylock.toml with `poetry exp"),
        ("file", POETRY, "it is a poetry.lock or pdm.lock, which is not read; write a pylock.toml with `poetry export"),
        ("pixi.toml", "[workspace]", "it is a pixi.toml, which is not read; lock it with `pixi lock`"),
        (
            "file",
            "name: x\ndependencies:\n- numpy\n",
            "it is an environment.yml, which says what is wanted and names",
        ),
        ("file", '[project]\nname = "x"\n', "it is a pyproject.toml, which says what is wanted and names no archives"),
        (
            "file",
            "numpy==1.26\npandas>=2\n",
            "it is a requirements.txt, which says what is wanted and names no",
        ),
        ("requirements.txt", "--pre\n", "it is a requirements.txt, which says what is wanted and names no"),
    ],
)
def test_what_names_no_archives_is_named(name: str, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_package_list(name, text)
    assert str(caught.value).startswith(f"{name}: {sentence}")
    if "says what is wanted" in sentence:
        assert caught.value.hint == f"`asynccache resolve {name}` finds the archives and caches them"


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt.reader], ids=lambda fmt: str(fmt.name))
def test_every_format_has_a_reader_which_refuses_what_is_none_by_name(fmt: FileFormat) -> None:
    text = "{]: - @ %"
    with pytest.raises(UsageError, match=r"^the file"):
        fmt.read_lock(text, SourcePosition("the file"), Selection()) if fmt.lock else fmt.read_requirements(
            text, SourcePosition("the file")
        )
    assert fmt.name in format_names(lock=fmt.lock)


def test_a_format_is_named_without_loading_its_parser() -> None:
    code = (
        "import sys; from asynccache.resolve.formats.registry import format_names; format_names(lock=True);"
        "print([m for m in sys.modules if m.split('.')[0] in {'yaml', 'tomllib', 'packaging', 'json'}"
        " or m.startswith('asynccache.model.') and m != 'asynccache.model.dataclass'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


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


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml", "pyproject.toml"])
def test_what_pip_froze_of_another_machine_is_refused_by_line_and_path(name: str, tmp_path: Path) -> None:
    line = "certi @ file:///croot/certi_1/work/certi"
    texts = {
        "requirements.txt": f"six\n{line}\n",
        "environment.yml": f"dependencies:\n- pip:\n  - {line}\n",
        "pyproject.toml": f"[project]\ndependencies = ['{line}']\n",
    }
    (tmp_path / name).write_text(texts[name])
    with pytest.raises(UsageError, match=rf"{name}, .*/croot/certi_1/work/certi .*not on this machine"):
        read_requirements(str(tmp_path / name), name)


def test_a_line_of_the_registry_is_all_that_makes_a_format_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_shopping(text: str, place: SourcePosition, selection: Selection) -> tuple[list[Any], list[Any]]:
        return [package_at(place.at(1), text.split()[1], Digests(md5="0" * 32), kind="conda")], []

    module: Any = ModuleType("asynccache.resolve.formats.shopping")
    module.read_shopping = read_shopping
    monkeypatch.setitem(sys.modules, module.__name__, module)
    line = FileFormat("shopping.lock", "shopping.read_shopping", lock=True, named=r"shopping\.lock")
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, line))
    (package,) = read_package_list("shopping.lock", f"buy {URL}")
    assert str(package.url) == URL
    assert "shopping.lock" in format_names(lock=True)
    with pytest.raises(UsageError, match=r"shopping\.lock"):
        read_package_list("pyproject.toml", "[project]")
