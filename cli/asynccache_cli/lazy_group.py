"""A group of commands whose modules are imported when they run, so that `--help` is fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A command group.

    Args:
        modules: Command -> (module of this package, attribute, one line for the listing), in the order of the help.
    """

    def __init__(self, *, modules: Mapping[str, tuple[str, str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order that the help shows."""
        del ctx
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        del ctx
        if cmd_name not in self._modules:
            return None
        module, attribute, _text = self._modules[cmd_name]
        command = getattr(importlib.import_module(f"asynccache_cli.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is no command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would answer an interrupt with an empty line on the screen."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; if there is none, name similar ones."""
        import difflib  # noqa: PLC0415

        if args and args[0] not in self._modules and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._modules, 1)
            hint = f" Did you mean `{near[0]}`?" if near else f" There are: {', '.join(self._modules)}."
            typed = " ".join([*ctx.command_path.split()[1:], args[0]])
            ctx.fail(f"There is no command `{typed}`.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the listing without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, _attribute, text) in self._modules.items()])
