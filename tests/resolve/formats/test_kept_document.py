from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from asynccache.engine.verified import Verified
from asynccache.errors import UsageError
from asynccache.resolve.formats.environment_yml import read_environment_yml
from asynccache.resolve.formats.yaml_document import parse_yaml
from asynccache.resolve.requests.source_position import SourcePosition

PLACE = SourcePosition("environment.yml")
TEXT = """\
name: tool
channels: [conda-forge]
dependencies:
- numpy >=1.10
- "yes"
- pip:
  - six==1.16
    # a comment
  - attrs
"""


@pytest.fixture
def memory(tmp_path: Path) -> Verified:
    return Verified(tmp_path / "memory.sqlite")


def kept_in(directory: Path) -> list[tuple[str, str]]:
    """Return place and name of what is kept."""
    with closing(sqlite3.connect(directory / "memory.sqlite")) as connection:
        return connection.execute("select place, name from verified").fetchall()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that were parsed, in order."""
    texts: list[str] = []
    parse: Callable[..., object] = yaml.parse

    def watched(text: str, **how: object) -> object:
        texts.append(text)
        return parse(text, **how)

    monkeypatch.setattr(yaml, "parse", watched)
    return texts


def test_a_file_that_was_read_before_is_not_parsed_again_and_asks_for_the_same(
    memory: Verified, parsed: list[str]
) -> None:
    first = read_environment_yml(TEXT, PLACE, memory)
    again = read_environment_yml(TEXT, PLACE, memory)
    assert parsed == [TEXT]
    assert again == first == read_environment_yml(TEXT, PLACE)
    assert [str(each.place) for each in again.deps["pypi"]] == [
        "environment.yml, line 7", "environment.yml, line 9",
    ]  # fmt: skip


def test_an_error_names_its_line_also_when_the_file_is_not_parsed_again(memory: Verified, parsed: list[str]) -> None:
    wrong = TEXT + "- pip:\n  - attrs: 2\n"
    said = []
    for _ in range(2):
        with pytest.raises(UsageError) as caught:
            read_environment_yml(wrong, PLACE, memory)
        said.append(str(caught.value))
    assert said == ["environment.yml, line 11: an item is malformed: expected a text, found a mapping"] * 2
    assert parsed == [wrong]


def test_a_file_that_changed_is_parsed(memory: Verified, parsed: list[str]) -> None:
    for text in (TEXT, TEXT.replace("1.10", "1.11")):
        read_environment_yml(text, PLACE, memory)
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "- {pip: [--extra-index-url https://me:secret@host/simple]}\n",
        TEXT.replace("conda-forge", "https://host/t/secret/channel"),
        TEXT + "  # https://host/x?sig=secret\n",
    ],
)
def test_a_file_that_holds_credentials_is_not_kept(
    memory: Verified, tmp_path: Path, parsed: list[str], text: str
) -> None:
    for _ in range(2):
        parse_yaml(text, PLACE, memory)
    assert len(parsed) == 2
    assert kept_in(tmp_path) == []


@pytest.mark.parametrize("text", ["a: &x [b]\nc: [*x, *x]\n", "a: &x\n- *x\n", "a: b # " + "-" * 65_536])
def test_a_file_with_aliases_or_a_long_one_is_not_kept(memory: Verified, parsed: list[str], text: str) -> None:
    for _ in range(2):
        parse_yaml(text, PLACE, memory)
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "damaged",
    [
        "", "{", "[]", "1", '{"line": 1}', '{"line": "1", "values": {}}', '{"line": 1, "values": []}',
        '{"line": 1, "values": {"name": 1}}', '{"line": 1, "text": "a"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_damaged_is_parsed_again_and_replaced(
    memory: Verified, tmp_path: Path, parsed: list[str], damaged: str
) -> None:
    wanted = read_environment_yml(TEXT, PLACE, memory)
    [(place, name)] = kept_in(tmp_path)
    memory.add(place, [(name, damaged)])
    for _ in range(2):
        assert read_environment_yml(TEXT, PLACE, memory) == wanted
    assert len(parsed) == 2


def test_so_many_files_are_kept_and_no_more(memory: Verified, tmp_path: Path) -> None:
    for number in range(200):
        parse_yaml(f"name: number-{number}\n", PLACE, memory)
    assert 0 < len(kept_in(tmp_path)) <= 64
