from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.identity import Request
from asynccache.resolve.formats.environment_yml import read_environment_yml
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.requests.source_position import SourcePosition

PLACE = SourcePosition("environment.yml")


def read(text: str) -> Requirements:
    return read_environment_yml(text, PLACE)


def test_everything_that_a_file_may_hold_is_read() -> None:
    found = read(
        "name: x\n"
        "channels: [bioconda, https://me:pw@host/chan]  # in this order\n"
        "dependencies:\n"
        "  # comment\n"
        "  - python >=3.8,<3.9   # trailing\n"
        "  - 'quoted=1.0'\n"
        "  - ch::numpy=1.26=py38_0\n"
        "  - i!=2\n"
        "  - f 1.0\n"
        "  - g 1.0 py_0\n"
        "  - win; sys_platform=='win32'\n"
        "  - __glibc=2.28\n"
        "  - __cuda\n"
        "  - pip:\n"
        "      - six[b,a]>=1, <2\n"
        '      - old==1; python_version < "3.7"\n'
        "      - clip @ git+https://host/clip.git@v1#egg=clip\n"
        "      - --extra-index-url https://extra/simple\n"
        "  - sys:\n"
        "      - __cuda=12.4=0\n"
        "  - after-pip\n"
        "pypi-indices:\n  - https://host/simple\n"
    )
    assert found.python == ">=3.8,<3.9"
    assert found.values("conda") == [
        "quoted==1.0", "ch::numpy==1.26=py38_0", "i==!=2", "f==1.0", "g==1.0=py_0",
        'win;sys_platform == "win32"', "__cuda", "after-pip",
    ]  # fmt: skip
    assert found.values("pypi") == [
        "six[b,a]==>=1,<2", 'old==1;python_version < "3.7"', "clip@git+https://host/clip.git@v1#egg=clip",
    ]  # fmt: skip
    assert found.values("sys") == ["__glibc==2.28", "__cuda==12.4=0"]
    assert found.sources["conda"] == ("bioconda", "https://host/chan")
    assert set(found.sources["pypi"]) == {"https://host/simple", "https://extra/simple"}
    assert found.auth == {"host": ["me", "pw"]}
    assert [r.place.line for r in found.deps["conda"] if r.place][:2] == [6, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies:\n- a\n- j[version='>=1', md5=1]", "environment.yml, line 3: .* asks for md5, which a request"),
        ("dependencies:\n- j[version='>=1'", "line 2: Could not parse .*NAME=VERSION=BUILD"),
        ("dependencies:\n- a 1.0 py_0 rest", "line 2: Could not parse 'a 1.0 py_0 rest'"),
        ("dependencies:\n- a[build='x y']", "line 2: .* has a build that is none"),
        ("dependencies:\n- python=3.8\n- python=3.9", "line 3: python is specified multiple times"),
        ("dependencies:\n- python=3.8; os_name == 'posix'", "line 2: the version of Python cannot depend on a marker"),
        ("dependencies:\n- npm:\n  - a", r"the dependencies hold an unknown section: .*found `npm:`"),
        ("dependencies:\n- sys:\n  - __glibc>=2", "line 3: .* requires a specific version"),
        ("dependencies:\n- pip:\n  - -e .", "line 3: '-e .' is not a supported line; editable"),
        ("dependencies:\n- pip:\n  - -r a.txt", "line 3: '-r a.txt' is not a supported line"),
        ("dependencies:\n- https://host/noarch/a-1-0.conda", "line 2: .* is an address, which conda's dependencies"),
        ("dependencies:\n- a; nonsense", "line 2: 'nonsense' is no environment marker"),
        ("dependencies:\n- two words", "line 2: Could not parse 'two words'"),
        ("dependencies: a", "line 1: `dependencies` is malformed: expected a list, found a text"),
        ("dependencies:\n- [a, b]", "expected texts, found a list in the list"),
        ("channels:\n- a: b", "line 2: an item is malformed"),
        ("dependencies:\n\t- a", "line 2: not a YAML document"),
        ("- a", "expected one mapping at its top, found a list"),
        ("dependencies:\n- pip:\n  - python==3.8", "line 3: python is no package of PyPI"),
    ],
)
def test_what_is_not_supported_is_refused_with_file_line_and_reason(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(text)


def test_an_empty_file_asks_for_nothing_and_other_sections_are_named() -> None:
    assert not read("# nothing\n\n")
    assert read("variables: {A: b}\ndependencies: [a]\n").notes == (
        "environment.yml: `variables` ignored: an environment has channels and dependencies only",
    )


ITEMS = ["numpy=1.26.4", "pandas>=1.0,<2", "ch::x", "scikit-learn", "y=1.0=py_0"]


@given(st.randoms(use_true_random=False), st.booleans(), st.sampled_from(["=", "=="]))
def test_order_spacing_layout_and_sign_do_not_matter_for_the_identity(
    shuffle: random.Random, inline: bool, sign: str
) -> None:
    items = [item.replace("numpy=", f"numpy {sign} ") for item in ITEMS]
    shuffle.shuffle(items)
    listed = (
        "[" + ", ".join(f'"{item}"' for item in items) + "]" if inline else "\n" + "\n".join(f"- {i}" for i in items)
    )
    expected = Request({"conda": read("dependencies:\n" + "\n".join(f"- {i}" for i in ITEMS)).values("conda")})
    assert Request({"conda": read(f"dependencies: {listed}\n").values("conda")}).req_id == expected.req_id


@given(st.text(max_size=60))
def test_any_item_is_read_or_refused_with_its_file(text: str) -> None:
    try:
        read(f"dependencies:\n  - {text}\n")
    except UsageError as exc:
        assert str(exc).startswith("environment.yml")  # noqa: PT017 - most texts are refused, some are not
