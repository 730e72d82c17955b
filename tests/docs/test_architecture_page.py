"""The picture of the rooms is that of the code, and what the way of a name passes is there."""

import ast
import os
import re
import subprocess
import sys

from tests.support.testdata import REPOSITORY

PAGE = REPOSITORY / "docs" / "architecture.md"
PICTURE = re.compile(r"(?<=```\n)(?P<picture>(?:[^`\n]*\n)*?metaflow +■[^`]*)(?=```)")


def test_the_picture_of_the_rooms_is_that_of_the_code() -> None:
    script = REPOSITORY / ".ci" / "draw_rooms.py"
    drawn = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=60).stdout
    text = PAGE.read_text("utf-8")
    found = PICTURE.search(text)
    assert found is not None
    if os.environ.get("ASYNCCACHE_UPDATE_DOCS"):
        PAGE.write_text(text.replace(found["picture"], f"{drawn.rstrip()}\n"), "utf-8")
    assert found["picture"].rstrip() == drawn.rstrip(), "run the tests with ASYNCCACHE_UPDATE_DOCS=1"


def test_what_the_way_of_a_name_passes_is_there() -> None:
    steps = re.findall(r"`([\w/]+\.py)` `(\w+)`", PAGE.read_text("utf-8").partition("## The path of a name")[2])
    assert len(steps) >= 10
    for name, wanted in steps:
        path = REPOSITORY / name if name.startswith("cli/") else REPOSITORY / "asynccache" / name
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        assert wanted in names, name
