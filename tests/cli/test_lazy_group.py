from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from asynccache_cli.commands import COMMANDS, group


def test_a_line_of_the_table_is_all_that_makes_a_command_known(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("greet")
    @click.argument("name")
    def command(name: str) -> None:
        click.echo(f"good morning {name}")

    module: Any = ModuleType("asynccache_cli.greet")
    module.command = command
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "greet", ("greet", "command", "Say good morning."))
    assert CliRunner().invoke(group, ["greet", "you"]).output == "good morning you\n"
    assert "Say good morning." in CliRunner().invoke(group, ["--help"]).output
