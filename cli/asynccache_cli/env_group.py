"""A group of commands whose modules are imported when they run; so the help of one does not load the others."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping

import click


class LazySubgroup(click.Group):
    """A command group.

    Args:
        name: As it is typed.
        modules: Command -> (module of this package, attribute, one line for the listing).
        text: The group's help.
    """

    def __init__(self, name: str, modules: Mapping[str, tuple[str, str, str]], text: str) -> None:
        super().__init__(name, help=text, short_help=text.partition("\n")[0])
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order that the help shows."""
        del ctx
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of that name."""
        del ctx
        if cmd_name not in self._modules:
            return None
        module, attribute, _text = self._modules[cmd_name]
        command = getattr(importlib.import_module(f"asynccache_cli.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, naming near ones when there is none."""
        if args and args[0] not in self._modules and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._modules, 1)
            known = ", ".join(self._modules)
            hint = f" Did you mean `{near[0]}`?" if near else f" There are: {known}."
            ctx.fail(f"There is no command `{self.name} {args[0]}`.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the listing without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, _attribute, text) in self._modules.items()])
