"""What several decorators ask for becomes one request: the tables of merging, within a level and step over flow."""

from typing import Any

import pytest

from asynccache.metaflow.merge import Ask, AskError, expand, merge_level, step_ask, step_over_flow
from asynccache.resolve.requests.requirement_text import merge_constraints


def level(*asks: Ask) -> Ask:
    return merge_level(asks, merge_constraints)


def conda(**packages: str) -> Ask:
    return Ask(packages={"conda": packages}, disabled=False)


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("1.4.0", ">=0.24.0", "1.4.0,>=0.24.0"),
        (">=0.24.0", "1.4.0", ">=0.24.0,==1.4.0"),
        ("==1.0", "1.0", "==1.0"),
        ("", "5", "5"),
        ("1.0", "", "1.0"),
        (">=1, <2", "", ">=1,== <2"),
        ("*", "", ""),
    ],
)
def test_packages_of_one_level_have_their_constraints_merged(first: str, second: str, merged: str) -> None:
    assert level(conda(pandas=first), conda(pandas=second)).packages == {"conda": {"pandas": merged}}


def test_what_one_decorator_says_alone_is_merged_with_nothing_as_other_writers_do() -> None:
    assert level(conda(pandas=">=1, <2", numpy="*")).packages == {"conda": {"pandas": ">=1,== <2", "numpy": ""}}


@pytest.mark.parametrize("field", ["name", "pathspec", "python", "fetch_at_exec", "disabled"])
def test_values_of_one_level_that_disagree_are_refused_by_both_values(field: str) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "name": ("a", "b"),
        "pathspec": ("A/1/s", "B/1/s"),
        "python": ("3.9", "3.10"),
        "fetch_at_exec": (False, True),
        "disabled": (True, False),
    }
    first, second = values[field]
    asks: list[Any] = [{field: first}, {field: second}]

    with pytest.raises(AskError, match=f"{field} is specified with incompatible values: {first} and {second}"):
        level(*(Ask(**each) for each in asks))


def test_a_level_may_say_the_same_twice() -> None:
    assert level(Ask(python="3.9"), Ask(), Ask(python="3.9")).python == "3.9"


def test_a_name_and_a_pathspec_exclude_each_other_also_in_two_decorators() -> None:
    with pytest.raises(AskError, match="Cannot specify both `name` and `pathspec`"):
        level(Ask(name="team/env"), Ask(pathspec="Flow/1/step"))


def test_channels_keep_the_order_in_which_they_are_read() -> None:
    nearest = Ask(sources={"conda": ["c", "d"]})  # Metaflow keeps the decorator next to the function first
    topmost = Ask(sources={"conda": ["a", "b", "c"]})

    assert level(nearest, topmost).sources["conda"] == ("a", "b", "c", "d")
    assert step_over_flow(Ask(sources={"conda": ["flow", "a"]}), topmost).sources["conda"] == ("a", "b", "c", "flow")


def test_flags_are_added_and_later_keys_win() -> None:
    merged = level(Ask(extras=("--pre",), unique_keys={"k": "1"}), Ask(extras=("--no-index",), unique_keys={"k": "2"}))

    assert merged.extras == ("--pre", "--no-index")
    assert merged.unique_keys == {"k": "2"}


def test_a_step_replaces_what_its_flow_says_of_a_package_and_keeps_the_rest() -> None:
    flow = Ask(packages={"conda": {"pandas": "1.4.0", "numpy": "1.21.5"}, "pypi": {"six": "1"}}, python="3.9")
    step = Ask(packages={"conda": {"pandas": ">=2"}, "sys": {"__glibc": "2.31"}}, python="3.10")

    merged = step_over_flow(flow, step)

    assert merged.packages == {
        "conda": {"pandas": ">=2", "numpy": "1.21.5"},
        "pypi": {"six": "1"},
        "sys": {"__glibc": "2.31"},
    }
    assert merged.python == "3.10"


@pytest.mark.parametrize(
    ("flow", "step", "base"),
    [
        (Ask(pathspec="Flow/1/step"), Ask(name="team/env"), "team/env"),
        (Ask(name="team/env"), Ask(pathspec="Flow/1/step"), "step:Flow/1/step"),
        (Ask(name="team/env"), Ask(), "team/env"),
        (Ask(name="team/env:v1"), Ask(name="team/env:v2"), "team/env:v2"),
    ],
)
def test_a_step_that_names_an_environment_drops_the_one_of_its_flow(flow: Ask, step: Ask, base: str) -> None:
    assert step_over_flow(flow, step).base == base


@pytest.mark.parametrize(
    ("flow", "step", "disabled"),
    [
        (Ask(disabled=True), conda(), False),  # naming anything brings the environment back
        (Ask(disabled=True), Ask(), True),
        (conda(), Ask(disabled=True), True),
        (Ask(), Ask(), None),
    ],
)
def test_a_step_decides_for_itself_whether_it_has_an_environment(flow: Ask, step: Ask, disabled: bool | None) -> None:
    assert step_over_flow(flow, step).disabled is disabled


def test_a_disabled_step_next_to_packages_is_a_contradiction() -> None:
    with pytest.raises(AskError, match="Step 'train': disabled is specified with incompatible values"):
        step_ask("train", [], [conda(a="1"), Ask(disabled=True)], merge_constraints)


def test_looking_up_late_needs_a_name_and_allows_nothing_else() -> None:
    late = Ask(fetch_at_exec=True)
    with pytest.raises(AskError, match="Step 'a' has `fetch_at_exec` set, which needs the `name` or `pathspec`"):
        step_ask("a", [], [late], merge_constraints)
    for more in (conda(six="1"), Ask(python="3.9"), Ask(sources={"pypi": ["https://x/simple"]})):
        with pytest.raises(AskError, match="Step 'b' has `fetch_at_exec` set, so that it cannot ask for packages"):
            step_ask("b", [], [late, Ask(name="team/env"), more], merge_constraints)
    assert step_ask("c", [Ask(name="team/env")], [late], merge_constraints).base == "team/env"


def test_two_lock_files_for_one_step_are_refused() -> None:
    with pytest.raises(AskError, match=r"several lock files: a\.toml, b\.toml"):
        step_ask("a", [], [Ask(files=("a.toml",)), Ask(files=("b.toml",))], merge_constraints)


def test_variables_in_a_name_are_replaced_and_unknown_ones_named() -> None:
    assert expand("team/@{A}-@{B}:@{A}", {"A": "x", "B": "y"}) == "team/x-y:x"
    assert expand("plain", {}) == "plain"
    with pytest.raises(AskError, match="Could not find 'NOPE' in the environment"):
        expand("team/@{NOPE}", {})
    with pytest.raises(AskError, match="Could not find 'A/open' in the environment"):
        expand("team/@{A/open", {"A": "x"})
