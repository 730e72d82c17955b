from __future__ import annotations

import pytest

from asynccache.errors import UsageError
from asynccache.resolve.formats.pyproject_toml import read_pyproject_toml
from asynccache.resolve.place import Place

PLACE = Place("pyproject.toml")


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
