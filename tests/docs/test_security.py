"""The page on security promises only what a test shows."""

import ast
import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_the_page_names_is_there(file: str, name: str) -> None:
    tree = ast.parse((REPOSITORY / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_guarantee_of_the_table_is_stated_and_shown() -> None:
    stated = {m[1]: m[2] for m in re.finditer(r"^\*\*(G\d+)\.(.*?)(?=^\*\*G|^## )", PAGE, re.MULTILINE | re.DOTALL)}
    table = "".join(re.findall(r"^\|.*\|$", PAGE, re.MULTILINE))
    assert {*re.findall(r"G\d+", table)} == {*stated}
    assert [name for name, text in stated.items() if "::" not in text or "Not covered:" not in text] == []


def test_the_policies_are_json_that_grants_and_nothing_else() -> None:
    policies = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    assert policies
    for policy in policies:
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
            assert statement["Effect"] == "Allow"
            assert all(re.fullmatch(r"s3:[A-Z]\w+", action) for action in statement["Action"])
            assert all(resource.startswith("arn:aws:s3:::BUCKET") for resource in statement["Resource"])
