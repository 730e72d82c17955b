"""What `asynccache.api` promises: names, types, results, and that asking for one costs no more than it must."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache import api

REPOSITORY = Path(__file__).resolve().parents[2]
ROOM = REPOSITORY / "asynccache" / "api"
Verb = ast.FunctionDef | ast.AsyncFunctionDef
HEAVY = ("aiobotocore", "aiohttp", "rattler", "sqlite3", "uv", "yaml", "zstandard", "asynccache.engine.engine")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _verbs() -> Iterator[tuple[str, Verb]]:
    for path in sorted(ROOM.glob("*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Verbs"):
                yield from (
                    (f"{path.stem}.{verb.name}", verb)
                    for verb in node.body
                    if isinstance(verb, Verb) and not verb.name.startswith("_")
                )


VERBS = dict(_verbs())


def _named(*annotations: ast.expr | None) -> set[str]:
    return {node.id for a in annotations if a is not None for node in ast.walk(a) if isinstance(node, ast.Name)}


def test_each_name_can_be_had_and_is_typed_where_it_is_exported() -> None:
    typed = {
        alias.name
        for node in ast.walk(_tree(ROOM / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asynccache.")
        for alias in node.names
    }
    assert sorted(typed) == sorted(api.__all__)
    assert all(getattr(api, name) is not None for name in api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = api.Nothing


def test_the_session_has_all_verbs_and_each_is_a_coroutine_or_yields() -> None:
    assert {name.partition(".")[2] for name in VERBS} <= set(dir(api.Session))
    assert len(VERBS) > 25
    assert [name for name, verb in VERBS.items() if not isinstance(verb, ast.AsyncFunctionDef)] == []


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_what_it_takes_returns_and_raises_and_its_types_are_public(name: str) -> None:
    verb = VERBS[name]
    text = ast.get_docstring(verb) or ""
    arguments = [a for a in (*verb.args.args, *verb.args.kwonlyargs, verb.args.vararg) if a and a.arg != "self"]
    assert all(f"    {a.arg}: " in text for a in arguments), "each argument is explained"
    assert "Raises:" in text or "`raise_for_failures()` raises" in text
    known = set(api.__all__)
    ours = {
        alias.name
        for node in ast.walk(_tree(ROOM / f"{name.partition('.')[0]}.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asynccache.")
        for alias in node.names
    }
    assert _named(*(a.annotation for a in arguments), verb.returns) & ours <= known
    for result in _named(verb.returns) & ours:
        assert hasattr(getattr(api, result), "as_document"), f"{result} cannot be written down"


def _loaded(code: str) -> set[str]:
    program = f"import sys; before = set(sys.modules); {code}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_surface_loads_nothing_else_of_ours() -> None:
    assert {name for name in _loaded("import asynccache.api") if name.startswith("asynccache")} == {
        "asynccache",
        "asynccache.api",
    }


def test_a_session_is_made_without_what_its_verbs_need() -> None:
    code = "from asynccache.api import Session, Settings; Session(Settings())"
    assert _loaded(code).isdisjoint(HEAVY)


def test_the_types_of_the_surface_are_complete(tmp_path: Path) -> None:
    pyright = Path(sys.executable).with_name("pyright")
    if not pyright.exists() or subprocess.run([pyright, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("pyright cannot be obtained")
    done = subprocess.run(
        [pyright, "--pythonpath", sys.executable, "--verifytypes", "asynccache.api", "--ignoreexternal"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert "Type completeness score: 100%" in done.stdout, done.stdout[-4000:] + done.stderr
