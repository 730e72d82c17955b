"""The page on security promises only what a test shows."""

import ast
import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text("utf-8")
DOCUMENTS = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
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


def test_the_policies_are_json_of_the_kind_that_s3_takes() -> None:
    policies = [each for each in DOCUMENTS if "Statement" in each]
    assert len(policies) == 4
    for policy in policies:
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            # who it is for stands in the policy of a bucket only, which is the only one that takes away
            given = {"Effect", "Principal"} if statement["Effect"] == "Deny" else {"Effect"}
            assert set(statement) - {"Sid", "Action", "Resource", "Condition"} == given
            assert statement["Effect"] in {"Allow", "Deny"}
            assert all(re.fullmatch(r"s3:[A-Z]\w+", action) for action in statement["Action"])
            assert all(resource.startswith("arn:aws:s3:::BUCKET") for resource in statement["Resource"])


def test_the_roles_are_json_of_the_kinds_that_azure_and_google_take() -> None:
    azure = [each for each in DOCUMENTS if "DataActions" in each]
    google = [each for each in DOCUMENTS if "includedPermissions" in each]
    assert (len(azure), len(google), len(DOCUMENTS)) == (3, 3, 10)
    for role in azure:
        assert set(role) == {
            "Name", "IsCustom", "Description", "Actions", "NotActions", "DataActions", "NotDataActions",
            "AssignableScopes",
        }  # fmt: skip
        assert role["AssignableScopes"] == ["/subscriptions/SUBSCRIPTION"]
        beginning = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
        assert all(action.startswith(beginning) for action in role["DataActions"])
    for role in google:
        assert set(role) == {"title", "stage", "includedPermissions"}
        assert all(re.fullmatch(r"storage\.objects\.[a-z]+", right) for right in role["includedPermissions"])
