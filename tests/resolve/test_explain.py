"""Solvers' failures in words, and credentials that never get into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import IndexUnreachableError
from asynccache.resolve.explain import in_words, last_lines, scrubbed, unknown_packages, unreachable, unsatisfiable
from asynccache.resolve.requests.virtual_packages import VirtualPackage

TREE = """Cannot solve the request because of: The following packages are incompatible
├─ python 3.8.* can be installed with any of the following options:
│  └─ python 3.8.19 | 3.8.20
└─ numpy >=2 cannot be installed because there are no viable options:
   └─ numpy 2.4.6 would require
      └─ python_abi 3.14.* *_cp314, for which no candidates were found.

"""


def test_a_tree_keeps_its_shape_and_loses_its_jargon() -> None:
    assert in_words(TREE).splitlines() == [
        "these requirements contradict each other:",
        "├─ python 3.8.* could be one of:",
        "│  └─ python 3.8.19 | 3.8.20",
        "└─ numpy >=2 cannot be installed:",
        "   └─ numpy 2.4.6 would require",
        "      └─ python_abi 3.14.* *_cp314, which no remaining candidate satisfies",
    ]


def test_a_long_tree_is_cut_and_says_so() -> None:
    lines = in_words("\n".join(f"package {number}" for number in range(100))).splitlines()
    assert len(lines) == 41
    assert lines[-1] == "... and 60 more lines of this kind"


def test_what_the_machine_is_taken_to_have_is_said_when_it_matters() -> None:
    machine = [VirtualPackage("__glibc", "2.17")]
    error = unsatisfiable("No candidates were found for __glibc >=2.28.", arch="linux-64", virtual_packages=machine)
    assert "the machine does not have __glibc >=2.28" in str(error)
    assert "linux-64 is taken to have __glibc 2.17" in str(error)
    assert unsatisfiable("No candidates were found for a ==9.", arch="linux-64", virtual_packages=machine).hint is None


def test_versions_that_exist_are_listed_newest_first_and_not_all() -> None:
    versions = [str(number) for number in range(9, 0, -1)]
    assert "a is published as 9, 8, 7, 6, 5, 4, ..." in str(unsatisfiable("x", arch="a", published={"a": versions}))


def test_near_names_and_searched_channels_are_told() -> None:
    error = unknown_packages(
        ["scikit_learn"], {"scikit-learn", "scikit-image", "zlib"}, ["https://me:pw@h/c"], "linux-64"
    )
    assert "'scikit_learn' (near: scikit-learn" in str(error)
    assert "zlib" not in str(error)
    assert "searched https://h/c" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "HTTP status client error (401 Unauthorized) for url (https://h/c/noarch/x)",
            "the channel https://h/c refuses (401)",
        ),
        ("HTTP status client error (404 Not Found) for url (https://h/c/noarch/x)", "https://h/c does not exist (404)"),
        ("no usable repodata cache for https://h/c/noarch/", "nothing was kept of the channel https://h/c/noarch/"),
        ("error sending request\nCaused by: Connection refused", "(Connection refused)"),
        ("", "no reason given"),
    ],
)
def test_a_channel_that_does_not_answer_is_told_with_its_reason(text: str, words: str) -> None:
    error = unreachable(text, ["https://h/c", "https://other/d"])
    assert isinstance(error, IndexUnreachableError)
    assert words in str(error)
    assert error.hint


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6).filter(lambda t: "*" not in t))
def test_a_known_secret_stands_nowhere(secret: str) -> None:
    assert secret not in scrubbed(f"before {secret} after https://u:{secret}@h/x {secret}", [secret]).replace("***", "")


@pytest.mark.parametrize(
    "text",
    [
        "https://me:SECRET@host/x",
        "https://host/t/SECRET/x",
        "https://host/x?token=SECRET",
        "Authorization: Basic SECRET",
        "authorization=Bearer SECRET",
        "password: SECRET",
        "api_key=SECRET",
    ],
)
def test_credentials_of_any_form_are_taken_out(text: str) -> None:
    assert "SECRET" not in scrubbed(f"before {text} after")


def test_the_last_lines_are_those_with_words() -> None:
    assert last_lines("a\n\n\nb\n \nc\n", count=2) == "b\nc"


def test_an_exact_version_that_others_begin_with_says_how_to_ask_for_these() -> None:
    said = str(unsatisfiable("x", arch="a", published={"a": ["1.3.1", "1.2"]}, exact={"a": "1.3"}))
    assert "a=1.3 is exactly that version, a=1.3.* every one that begins so" in said
    assert "exactly" not in str(unsatisfiable("x", arch="a", published={"a": ["1.31"]}, exact={"a": "1.3"}))


def test_the_request_on_the_other_side_of_a_contradiction_is_said_once() -> None:
    asked = {"python": "python 3.12.*", "numpy": "numpy >=2", "num": "num ==1"}
    said = str(unsatisfiable("numpy >=2 would require\npython 3.11.*", arch="a", requested=asked))
    assert said.endswith("python 3.11.*\npython 3.12.* is requested")
