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


def test_credentials_are_refused_where_a_decorator_would_record_them() -> None:
    with pytest.raises(UsageError, match="credentials of host") as caught:
        config_parsers.req_parser("--extra-index-url https://me:hidden@host/simple")
    assert "hidden" not in str(caught.value)
