from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from asynccache.errors import UsageError
from asynccache.resolve.formats import config_parsers

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("parser_vectors.json").read_text("utf-8"))
LONG_LIST = next(v["input"] for v in VECTORS if "j[version" in v["input"])
# Inputs for which the contract records what it calls a defect, and what is right: None for refused.
RIGHT: dict[str, dict[str, Any] | None] = {
    "pandas[b,a]": {"packages": {"pandas[a,b]": ""}},
    "dependencies:\n  - a\n  - pip:\n    - b\n  - c": {"libraries": {"a": "", "c": ""}, "pip_packages": {"b": ""}},
    "dependencies:\n  # comment\n  - a # trailing": {"libraries": {"a": ""}},
    "dependencies: [a, b]": {"libraries": {"a": "", "b": ""}},
    "dependencies:\n  - a;python_version<'3'": {"libraries": {"a": ';python_version < "3"'}},
    "dependencies:\n\t- a": None,
    "- a": None,
    LONG_LIST: None,
}
# What the contract lets pass in silence: a line that is replaced, dependencies that do not count.
SAID = {"pandas>=1\npandas<2", "[tool.poetry.dependencies]\nfoo='1'"}
# Errors of other libraries, which are errors of ours here.
MESSAGES = {"IndexError": "not a supported line", "TOMLDecodeError": "not a TOML document"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['parser']}: {v['input'][:40]}")
def test_parsers_answer_as_the_contract_records_or_better_where_it_records_a_defect(vector: dict[str, Any]) -> None:
    parser = getattr(config_parsers, vector["parser"])
    expected = RIGHT.get(vector["input"], vector.get("result"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if expected is None:
            message = vector.get("error", "")
            with pytest.raises(UsageError, match=f"(?i){MESSAGES.get(message, message)}"):
                parser(vector["input"])
        else:
            assert parser(vector["input"]) == expected
    assert bool(told) == (vector.get("warning", False) or vector["input"] in SAID)


def test_the_items_beside_the_refused_one_are_read_as_recorded() -> None:
    recorded = next(v["result"]["libraries"] for v in VECTORS if v["input"] == LONG_LIST)
    right = {**recorded, "f": "1.0", "i": "!=2"}
    for wrong in ("f1.0", "i!", "j[version"):
        del right[wrong]
    assert config_parsers.yml_parser(LONG_LIST[: LONG_LIST.index("\n  - j[")]) == {"libraries": right}


@pytest.mark.parametrize(
    ("line", "deps", "sources"),
    [
        ("--conda-channel cf", {}, {"conda": ["cf"]}),
        ("--sys-pkg __glibc==2.27", {"sys": {"__glibc": "2.27"}}, {}),
        ("--sys-pkg __cuda=11.8=0", {"sys": {"__cuda": "11.8=0"}}, {}),
        ("--sys-pkg __cuda>=11", {"sys": {"__cuda": ">=11"}}, {}),
    ],
)
def test_filling_maps_accepts_channels_and_system_packages(
    line: str, deps: dict[str, dict[str, str]], sources: dict[str, list[str]]
) -> None:
    found_deps: dict[str, dict[str, str]] = {}
    found_sources: dict[str, list[str]] = {}
    extras: dict[str, list[str]] = {}
    assert config_parsers.parse_req_value(line, deps=found_deps, sources=found_sources, extras=extras) is None
    assert (found_deps, found_sources, extras) == (deps, sources, {})


def test_files_fill_the_same_maps_one_after_the_other() -> None:
    deps: dict[str, dict[str, str]] = {}
    sources: dict[str, list[str]] = {}
    extras: dict[str, list[str]] = {}
    maps: dict[str, Any] = {"deps": deps, "sources": sources, "extras": extras}
    yml = "channels: [c]\ndependencies: [a=1, python=3.8, {pip: [six=1]}]"
    assert config_parsers.parse_yml_value(yml, **maps) == "3.8"
    assert config_parsers.parse_req_value("six==2\n--pre", **maps) is None
    assert config_parsers.parse_toml_value("[project]\ndependencies=['b']\nrequires-python='>=3'", **maps) == ">=3"
    assert deps == {"conda": {"a": "1"}, "pypi": {"six": "2", "b": ""}}
    assert (sources, extras) == ({"conda": ["c"]}, {"pypi": ["--pre"]})


def test_credentials_are_refused_where_a_decorator_would_record_them() -> None:
    with pytest.raises(UsageError, match="credentials of host") as caught:
        config_parsers.req_parser("--extra-index-url https://me:hidden@host/simple")
    assert "hidden" not in str(caught.value)
