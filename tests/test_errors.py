"""Every code is in one table; help, page and documents are made of it."""

import ast
import importlib
import os
import pkgutil
from pathlib import Path

import asynccache
from asynccache.errors import (
    EXIT_CODES,
    AsyncCacheError,
    FetchError,
    FetchRefusedError,
    IndexRefusedError,
    IndexUnreachableError,
    IntegrityError,
    PartialFailureError,
    StoreError,
    StoreRefusedError,
)

REPOSITORY = Path(__file__).resolve().parents[1]
_RETRYABLE = {True: "yes", False: "no", None: "see `retryable`"}


def _family(kind: type[AsyncCacheError]) -> list[type[AsyncCacheError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in _family(below))]


def errors_page() -> str:
    """Write the page of errors from the code."""
    classes: dict[int, list[str]] = {}
    for kind in _family(AsyncCacheError)[1:]:
        if kind.__module__ == "asynccache.errors" and kind is not PartialFailureError:
            classes.setdefault(kind.exit_code, []).append(f"`{kind.__name__}`")
    classes[1] = ["`PartialFailureError`"]
    page = (REPOSITORY / "docs" / "errors.md").read_text("utf-8")
    before, rest = page.split("| exit code |", 1)
    after = rest.split("\n\n", 1)[1]
    lines = ["| exit code | name | when | again? | class |", "| --- | --- | --- | --- | --- |"]
    for row in EXIT_CODES.values():
        kinds = ", ".join(classes.get(row.code, []))
        again = "" if row.code == 0 else _RETRYABLE[row.retryable]
        cells = (str(row.code), row.name, row.meaning, again, kinds)
        lines.append("".join(f"| {cell} " if cell else "| " for cell in cells) + "|")
    return before + "\n".join(lines) + "\n\n" + after


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    page = REPOSITORY / "docs" / "errors.md"
    if os.environ.get("ASYNCCACHE_UPDATE_DOCS"):
        page.write_text(errors_page(), "utf-8")
    assert page.read_text("utf-8") == errors_page(), "run the tests with ASYNCCACHE_UPDATE_DOCS=1"


def test_the_help_lists_every_code() -> None:
    from asynccache_cli.commands import EXIT_CODES_HELP

    for row in EXIT_CODES.values():
        assert f"\n  {row.code:<4} {row.meaning}" in EXIT_CODES_HELP


def test_every_error_of_the_house_has_a_code_of_the_table_and_says_it_in_its_document() -> None:
    for module in pkgutil.walk_packages(asynccache.__path__, "asynccache."):
        if not module.name.startswith(("asynccache.metaflow", "asynccache.boot.__main__")):
            importlib.import_module(module.name)
    for kind in _family(AsyncCacheError):
        assert kind.exit_code in EXIT_CODES
        if kind is not PartialFailureError and kind.__module__ == "asynccache.errors":
            document = kind("said").as_document()
            row = EXIT_CODES[kind.exit_code]
            assert (document["cause"], document["exit_code"]) == (row.name, row.code)
            if row.retryable is not None:
                assert document["retryable"] is row.retryable


def test_what_stays_is_told_apart_from_what_passes() -> None:
    for passes, stays in ((FetchError, FetchRefusedError), (StoreError, StoreRefusedError)):
        assert passes("x").retryable
        assert not stays("x").retryable
        assert passes.exit_code != stays.exit_code
    assert IndexUnreachableError("x").retryable
    assert not IndexRefusedError("x").retryable


def test_several_failures_are_worth_another_try_when_one_of_them_is() -> None:
    stays = PartialFailureError("2 failed", {"a": IntegrityError("x"), "b": FetchRefusedError("y")})
    assert (stays.exit_code, stays.retryable) == (1, False)
    passes = PartialFailureError("2 failed", {"a": IntegrityError("x"), "b": FetchError("y")})
    assert (passes.exit_code, passes.retryable) == (1, True)
    causes = passes.as_document()["causes"]
    assert isinstance(causes, list)
    assert [(c["cause"], c["failed"], c["first"]) for c in causes] == [("integrity", 1, "a"), ("fetch", 1, "b")]


def test_the_errors_are_readable_by_python_3_7() -> None:
    ast.parse((REPOSITORY / "asynccache" / "errors.py").read_text("utf-8"), feature_version=(3, 7))
