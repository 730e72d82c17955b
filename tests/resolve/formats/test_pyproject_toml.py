from __future__ import annotations

from pathlib import Path

import pytest

from asynccache.errors import UsageError
from asynccache.resolve.formats.pyproject_toml import read_pyproject_toml
from asynccache.resolve.requests.source_position import SourcePosition

PLACE = SourcePosition("pyproject.toml")


def test_dependencies_python_and_indexes_of_a_project_are_read() -> None:
    found = read_pyproject_toml(
        "[project]\ndependencies = ['six>=1,<2', 'pandas[b,a]==1', \"old; python_version<'3.9'\"]\n"
        "requires-python = '>=3.8, <3.13'\n[project.optional-dependencies]\nx = ['left-out']\n"
        "[dependency-groups]\ndev = ['left-out']\n"
        "[[tool.uv.index]]\nurl = 'https://me:pw@host/simple'\n[[tool.poetry.source]]\nurl = 'https://p/simple'\n",
        PLACE,
    )
    assert found.values("pypi") == ["six==<2,>=1", "pandas[a,b]==1", 'old;python_version < "3.9"']
    # as written, blank included: other readers identify the environment by this text
    assert found.python == ">=3.8, <3.13"
    assert found.sources["pypi"] == ("https://p/simple", "https://host/simple")
    assert found.auth == {"host": ["me", "pw"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[project]\ndependencies = ['six', 'a b']",
            r"pyproject.toml, project.dependencies\[1\]: Could not parse 'a b'",
        ),
        ("[project]\ndependencies = ['python']", r"project.dependencies\[0\]: python is no .* requires-python"),
        (
            "[project]\ndependencies = [1]",
            r"project.dependencies\[0\]: the entry is malformed: expected a text, found 1",
        ),
        ("[project]\ndependencies = 'six'", "project.dependencies: the entry is malformed: expected a list"),
        ("project = 1", "project: the entry is malformed: expected a table"),
        ("not toml", "pyproject.toml: not a TOML document .*line 1"),
    ],
)
def test_what_is_wrong_is_refused_with_file_entry_and_reason(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_pyproject_toml(text, PLACE)


def test_a_project_of_poetry_says_that_its_own_dependencies_are_left_out() -> None:
    found = read_pyproject_toml("[tool.poetry.dependencies]\nsix = '1'\n", PLACE)
    assert not found
    assert "poetry's own dependencies are left out" in found.notes[0]


PROJECT = "[project]\ndependencies = ['Six_x>=1', 'b @ https://host/b.whl']\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project]\ndynamic = ['version', 'dependencies']\n", r"project.dynamic: the dependencies are dynamic"),
        (f"{PROJECT}[tool.uv.sources]\nsix-x = {{ index = 'x' }}\n", r"tool.uv.sources.six-x: .*`uv lock`"),
        (f"{PROJECT}[tool.uv.sources]\nsix-x = {{ workspace = true }}\n", r"tool.uv.sources.six-x: "),
        (f"{PROJECT}[tool.uv.sources]\nsix-x = {{ git = 'g@h:x.git' }}\n", r"tool.uv.sources.six-x: "),
        (f"{PROJECT}[tool.uv.sources]\nsix-x = {{ path = 'x', marker = 'm' }}\n", r"tool.uv.sources.six-x: "),
        (f"{PROJECT}[tool.uv.sources]\nb = {{ path = 'x' }}\n", r"tool.uv.sources.b: "),
        (f"{PROJECT}[tool.uv.sources]\nB = [{{ index = 'x', marker = 'm' }}]\n", r"tool.uv.sources.B: "),
        (
            f"{PROJECT}[tool.uv]\nconstraint-dependencies = ['a @ https://h/a.whl']\n",
            r"-dependencies\[0\]: .* no constraint",
        ),
        (f"{PROJECT}[tool.uv]\noverride-dependencies = ['a<2']\n", r"tool.uv.override-dependencies: "),
        (f"{PROJECT}[tool.uv]\nindex-url = 'https://host/simple'\n", r"tool.uv.index-url: "),
        ("[tool.pixi.dependencies]\nsix = '*'\n", r"tool.pixi.dependencies: .*`pixi lock`"),
        (f"{PROJECT}[tool.pixi.target.linux-64.dependencies]\nsix = '*'\n", r"tool.pixi.target: "),
        (f"{PROJECT}[tool.poetry.dependencies]\nsix-x = {{ source = 'own' }}\n", "tool.poetry.dependencies.six-x: "),
    ],
)
def test_what_gives_the_dependencies_another_meaning_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_pyproject_toml(text, PLACE)


def test_sources_and_constraints_of_uv_that_a_request_can_hold_count(tmp_path: Path) -> None:
    found = read_pyproject_toml(
        "[project]\ndependencies = ['Six_x[b]>=1', \"g; python_version>'3'\", 'u', 'plain']\n"
        "[tool.uv]\nconstraint-dependencies = ['plain<2', 'c; python_version < \"4\"']\n"
        "[tool.uv.sources]\nsix-x = [{ path = '../x', editable = true }]\nu = { url = 'https://u:pw@h/u-1.tar.gz' }\n"
        "g = { git = 'https://h/g.git', tag = 'v1', subdirectory = 'py' }\nother = { index = 'own' }\n",
        SourcePosition(str(tmp_path / "project" / "pyproject.toml")),
    )
    assert found.values("pypi") == [
        f"Six_x[b]@{(tmp_path / 'x').as_uri()}",
        'g@git+https://h/g.git@v1#subdirectory=py;python_version > "3"',
        "u@https://h/u-1.tar.gz",
        "plain",
    ]
    assert found.extras == {"pypi": ("--constraint six-x>=1", "--constraint plain<2")}
    assert found.auth == {"h": ["u", "pw"]}
    assert "tool.uv.sources.Six_x: it is built as it is now" in found.notes[0]


def test_tables_that_concern_no_dependency_of_the_project_do_not_matter() -> None:
    found = read_pyproject_toml(
        f"{PROJECT}[tool.uv]\ndev-dependencies = ['x']\n[tool.uv.sources]\nx = {{ index = 'own' }}\n"
        "[[tool.uv.index]]\nname = 'own'\nurl = 'https://own/simple'\nexplicit = true\n"
        "[tool.poetry.dependencies]\nsix-x = '^1'\n",
        PLACE,
    )
    assert found.values("pypi") == ["Six_x==>=1", "b@https://host/b.whl"]
    assert not found.sources


def test_a_file_without_a_project_says_that_it_asks_for_nothing() -> None:
    found = read_pyproject_toml("[tool.black]\nline-length = 99\n", PLACE)
    assert found.notes == ("pyproject.toml: it has no [project], so it asks for no package",)
