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
    LONG_LIST: {
        "libraries": {
            "a": "1.0",
            "b": "2",
            "c": ">=3",
            "d": ">=3",
            "e": "1.0=py38_0",
            "f": "1.0",
            "ch::g": "1",
            "h": "~=1.0",
            "i": "!=2",
            "j": ">=1",
        }
    },
}
# What the contract lets pass in silence: a line that is replaced, dependencies that do not count.
SAID = {
    "pandas>=1\npandas<2",
    "[tool.poetry.dependencies]\nfoo='1'",
    "[dependency-groups]\ndev=['a']",
    "[[tool.poetry.source]]\nname='x'\nurl='https://x'\n[[tool.uv.index]]\nurl='https://y'\n[[tool.uv.index]]\nname='n'",
}
# Errors of other libraries, which are errors of ours here; and inputs that are refused for a part, not as a whole.
MESSAGES = {
    "IndexError": "not a supported line",
    "TOMLDecodeError": "not a TOML document",
    "-c cons.txt": "'cons.txt' leads to nothing",
    "pandas==1.0 --hash=sha256:abc": "digests .* cannot be compared",
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['parser']}: {v['input'][:40]}")
def test_parsers_answer_as_the_contract_records_or_better_where_it_records_a_defect(vector: dict[str, Any]) -> None:
    parser = getattr(config_parsers, vector["parser"])
    expected = RIGHT.get(vector["input"], vector.get("result"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if expected is None:
            message = MESSAGES.get(vector["input"], vector.get("error", ""))
            with pytest.raises(UsageError, match=f"(?i){MESSAGES.get(message, message)}"):
                parser(vector["input"])
        else:
            assert parser(vector["input"]) == expected
    assert bool(told) == (vector.get("warning", False) or vector["input"] in SAID)


def test_credentials_are_refused_where_a_decorator_would_record_them() -> None:
    with pytest.raises(UsageError, match="credentials of host") as caught:
        config_parsers.req_parser("--extra-index-url https://me:hidden@host/simple")
    assert "hidden" not in str(caught.value)


def test_what_bounds_versions_is_handed_on_or_refused() -> None:
    bounds = "[project]\ndependencies = ['six']\n[tool.uv]\nconstraint-dependencies = ['six<2']\n"
    assert config_parsers.toml_parser(bounds)["extras"] == {"pypi": ["--constraint six<2"]}
    line = f"six==1.16 --hash=sha256:{'0' * 64}"
    assert config_parsers.req_parser(line)["extras"] == {"pypi": [f"--hash six {'0' * 64}"]}
    with pytest.raises(UsageError, match="digests of PyPI packages have no argument of @conda"):
        config_parsers.yml_parser(f"dependencies:\n - pip:\n   - {line}\n")
