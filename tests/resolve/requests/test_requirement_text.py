from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_version
from packaging.version import Version

from asynccache.errors import UsageError
from asynccache.resolve.requests.requirement_text import (
    canonical_version,
    join_value,
    merge_constraints,
    packages_of,
    read_requirement,
    split_value,
    undoubled,
)

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}(\[[a-z]{1,4}\])?", fullmatch=True)
CLAUSES = st.from_regex(r"(==|>=|<=|!=|~=|<|>)?[1-9](\.[0-9]){0,2}(\.\*)?", fullmatch=True)
CONSTRAINTS = st.lists(CLAUSES, max_size=4).map(",".join)
MARKERS = st.sampled_from(["", 'sys_platform == "linux"', 'python_version < "3.9"'])


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("1.4.0", ">=0.24.0", "1.4.0,>=0.24.0"),
        (">=0.24.0", "1.4.0", ">=0.24.0,==1.4.0"),
        ("==1.0", "1.0", "==1.0"),
        (">=2,<3", "<3", ">=2,<3"),
        (None, "*", ""),
        ("", "5", "5"),
    ],
)
def test_constraints_merge_as_the_contract_says(first: str | None, second: str | None, merged: str) -> None:
    assert merge_constraints(first, second) == merged


@given(CONSTRAINTS, CONSTRAINTS)
def test_a_merge_holds_every_clause_of_both_and_repeats_none_of_the_second(first: str, second: str) -> None:
    merged = merge_constraints(first, second)
    parts = {part.lstrip("=") for part in merged.split(",")}
    assert {part.lstrip("=") for part in [*first.split(","), *second.split(",")] if part} <= parts | {""}
    assert merge_constraints(merged, second) == merged
    assert merge_constraints(merged, first) == merged


@given(NAMES, CONSTRAINTS, MARKERS)
def test_what_is_put_together_comes_apart_again(name: str, constraint: str, marker: str) -> None:
    assert split_value(join_value(name, constraint, marker)) == (name, constraint, marker)


@given(st.dictionaries(NAMES, CONSTRAINTS))
def test_values_stand_for_the_map_of_their_names(packages: dict[str, str]) -> None:
    assert packages_of(join_value(name, constraint) for name, constraint in packages.items()) == packages


def test_maps_of_values_match_the_contract() -> None:
    assert packages_of(["a==1", "b", "c==*", "d==>=2,<3", "e====1"]) == {
        "a": "1", "b": "", "c": "", "d": ">=2,<3", "e": "==1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a==>=1", "a>=1"),
        ("c==*", "c"),
        ("d==!=2", "d!=2"),
        ("f==~=1", "f~=1"),
        ("g==<2,>=1", "g<2,>=1"),
        ("h==1", "h==1"),
    ],
)
def test_a_doubled_operator_is_removed(value: str, text: str) -> None:
    assert undoubled(value) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1.4.0", "1.4"), ("2.10.0", "2.10"), ("1.0.0", "1"), ("1.0rc1", "1rc1"), ("2!1.0.0", "2!1"), ("3.10", "3.10"),
        ("==1.0", "==1.0"), (">=1.0.0", ">=1.0.0"), ("1.0.*", "1.0.*"), ("1.0;M", "1.0;M"), ("", ""),
    ],
)  # fmt: skip
def test_a_decorators_version_is_canonical_and_other_text_unchanged(text: str, canonical: str) -> None:
    assert canonical_version(text) == canonical


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ("b==1", "b ==1"),
        ("b==1.0.0", "b ==1.0.0"),
        ("python==>=3", "python >=3"),
        ("scikit-learn", "scikit-learn"),
        ("scikit-learn==1.2", "scikit-learn ==1.2"),
        ("conda-forge::scikit-learn==>=1,<2", "conda-forge::scikit-learn >=1,<2"),
        ("e==1.0=py38_0", "e ==1.0 py38_0"),
        ("e==1.0-py38_0", "e ==1.0 py38_0"),
        ("six====1.16.0", "six ==1.16.0"),
        ("x==*", "x"),
        ("y==1.2.*", "y 1.2.*"),
        ("z==1.4.0,>=0.24.0", "z ==1.4.0,>=0.24.0"),
        ("m==1;sys_platform == 'linux'", "m ==1"),
    ],
)
def test_integer_versions_and_hyphenated_names_are_no_builds(value: str, spec: str) -> None:
    assert read_requirement(value).conda_spec == spec


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ("b==1", "b==1"),
        ("pandas[b,a]==<2,>=1", "pandas[a,b]<2,>=1"),
        ("clip@git+https://host/clip.git@v1#egg=clip==1", "clip @ git+https://host/clip.git@v1#egg=clip==1"),
        ("p==1.0-1", "p==1.0-1"),
        ("typing-extensions", "typing-extensions"),
    ],
)
def test_a_value_of_pypi_becomes_a_pep_508_text(value: str, spec: str) -> None:
    assert read_requirement(value, "pypi").pypi_spec == spec


def test_a_value_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="names no package"):
        read_requirement("==1.0")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5).map(lambda parts: ".".join(map(str, parts))))
def test_versions_of_numbers_are_written_as_the_packaging_library_writes_them(text: str) -> None:
    for written in (text, f"0{text}"):
        assert canonical_version(written) == canonicalize_version(Version(written))
