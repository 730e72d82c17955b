"""Who resolves what: by setting, by default, and when something is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.config.settings import ROWS
from asynccache.errors import ResolverMissingError, UsageError
from asynccache.model.identity import Request
from asynccache.node.resolver_table import RESOLVERS, ResolverLine, names_of
from asynccache.resolve.choose import Noted, choose_resolver
from asynccache.resolve.conda.executable import CondaExecutableResolver
from asynccache.resolve.conda.lock_tool import CondaLockResolver
from asynccache.resolve.conda.rattler_solver import RattlerResolver
from asynccache.resolve.resolver import Problem
from tests.support.conda_stub import write_stub
from tests.support.conda_table import TablePackage, table_resolver

NOWHERE = {"PATH": ""}


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


class Plugged:
    def __init__(self, settings: Settings, *, prefix: Any = None, conda: Any = None) -> None:
        self.prefix, self.conda = prefix, conda


@pytest.fixture
def _plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, cls in (
        ("pypi.uv_resolver", "UvResolver"),
        ("pypi.pip_resolver", "PipResolver"),
        ("mixed", "BuiltinMixedResolver"),
    ):
        stand_in = ModuleType(module)
        setattr(stand_in, cls, type(cls, (Plugged,), {}))
        monkeypatch.setitem(sys.modules, f"asynccache.resolve.{module}", stand_in)


@pytest.mark.parametrize("name", ["mamba", "conda", "micromamba"])
def test_a_program_that_was_asked_for_is_taken_or_missed(tmp_path: Path, name: str) -> None:
    settings = Settings(conda_dependency_resolver=name)
    with pytest.raises(ResolverMissingError, match=f"Could not find conda binary for {name}"):
        choose_resolver(settings, "conda-only", environ=NOWHERE)
    write_stub(tmp_path, name)
    chosen = choose_resolver(settings, "conda-only", environ={"PATH": str(tmp_path)})
    assert isinstance(chosen, CondaExecutableResolver)
    assert chosen.name == name


def test_rattler_when_asked_for_is_taken_without_a_word() -> None:
    chosen = choose_resolver(Settings(conda_dependency_resolver="rattler"), "conda-only", environ=NOWHERE)
    assert isinstance(chosen, RattlerResolver)


def test_with_nothing_set_mamba_is_taken_where_it_is_found(tmp_path: Path) -> None:
    write_stub(tmp_path, "mamba")
    chosen = choose_resolver(Settings(), "conda-only", environ={"PATH": str(tmp_path)})
    assert isinstance(chosen, CondaExecutableResolver)


async def test_with_nothing_set_and_found_the_built_in_one_is_taken_and_said_so(tmp_path: Path) -> None:
    chosen = choose_resolver(Settings(), "conda-only", environ=NOWHERE)
    assert isinstance(chosen, Noted)
    assert isinstance(chosen.resolver, RattlerResolver)
    chosen.resolver = table_resolver(Settings(cache_dir=tmp_path), (TablePackage("a", "1"),))
    solution = await chosen.resolve(Problem(Request({"conda": ["a"]}), "linux-64", "conda-only"))
    assert solution.notes == ("No mamba was found, so the built-in resolver rattler is used.",)
    assert [package.filename for package in solution.packages] == ["a-1-0"]


@pytest.mark.usefixtures("_plugged")
@pytest.mark.parametrize(("name", "cls"), [("uv", "UvResolver"), ("pip", "PipResolver")])
def test_pypi_resolvers_get_the_makers_they_need(name: str, cls: str) -> None:
    prefix: Any = object()
    chosen: Any = choose_resolver(Settings(pypi_dependency_resolver=name), "pypi-only", prefix=prefix)
    assert type(chosen).__name__ == cls
    assert chosen.prefix is prefix
    assert isinstance(chosen.conda, RattlerResolver)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Settings(pypi_dependency_resolver="none"), "pypi-only"),
        (Settings(mixed_dependency_resolver="none"), "mixed"),
    ],
)
def test_none_refuses_the_type(settings: Settings, kind: str) -> None:
    with pytest.raises(ResolverMissingError, match=f"{kind} environment: no resolver is configured"):
        choose_resolver(settings, kind, environ=NOWHERE)


@pytest.mark.usefixtures("_plugged")
@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "Conda-lock and a conda program were not found"),
        (["conda-lock"], "A conda program was not found"),
        (["mamba"], "Conda-lock was not found"),
    ],
)
def test_with_nothing_set_mixed_environments_are_built_in_where_something_misses(
    tmp_path: Path, found: list[str], words: str
) -> None:
    for name in found:
        write_stub(tmp_path, name, style="mamba")
    chosen: Any = choose_resolver(Settings(), "mixed", environ={"PATH": str(tmp_path)})
    assert isinstance(chosen, Noted)
    assert type(chosen.resolver).__name__ == "BuiltinMixedResolver"
    assert words in chosen.note


def test_conda_lock_is_taken_where_it_can_work(tmp_path: Path) -> None:
    for name in ("conda-lock", "micromamba"):
        write_stub(tmp_path, name, style="micromamba")
    for settings in (Settings(), Settings(mixed_dependency_resolver="conda-lock")):
        assert isinstance(choose_resolver(settings, "mixed", environ={"PATH": str(tmp_path)}), CondaLockResolver)


def test_conda_lock_when_asked_for_misses_what_it_needs(tmp_path: Path) -> None:
    settings = Settings(mixed_dependency_resolver="conda-lock")
    with pytest.raises(ResolverMissingError, match="conda-lock"):
        choose_resolver(settings, "mixed", environ=NOWHERE)
    write_stub(tmp_path, "conda-lock", style="mamba")
    with pytest.raises(ResolverMissingError, match="without which conda-lock cannot solve"):
        choose_resolver(settings, "mixed", environ={"PATH": str(tmp_path)})


class Guessing:
    """Solves nothing; of a module that no other one names."""

    def __init__(self, settings: Settings, *, program: str, environ: Any) -> None:
        self.name, self.environ = program, environ


@pytest.mark.parametrize(("kind", "of"), [("conda", "conda-only"), ("pypi", "pypi-only"), ("mixed", "mixed")])
def test_a_line_of_the_table_is_all_that_makes_a_resolver_known(
    monkeypatch: pytest.MonkeyPatch, kind: str, of: str
) -> None:
    module: Any = ModuleType("asynccache.resolve.guessing")
    module.Guessing = Guessing
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(RESOLVERS, "guess", ResolverLine(kind, "guessing:Guessing", ("program", "environ")))
    setting = f"{kind}_dependency_resolver"
    monkeypatch.setitem(ROWS, setting, ROWS[setting]._replace(choices=names_of(kind)))
    chosen = choose_resolver(Settings(**{setting: "guess"}), of, environ=NOWHERE)  # type: ignore[arg-type]
    assert isinstance(chosen, Guessing)
    assert (chosen.name, chosen.environ) == ("guess", NOWHERE)


def test_settings_offer_the_resolvers_of_the_table() -> None:
    for kind in ("conda", "pypi", "mixed"):
        assert [*names_of(kind)] == [name for name in ROWS[f"{kind}_dependency_resolver"].choices if name != "none"]


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown type"):
        choose_resolver(Settings(), "both", environ=NOWHERE)
