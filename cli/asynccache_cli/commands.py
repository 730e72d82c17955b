"""The command group, and options common to all commands."""

from __future__ import annotations

import importlib
from typing import Final

import click

from asynccache import __version__
from asynccache.errors import EXIT_CODES

# command -> (module, one line for the listing): the listing must not import what the commands need
COMMANDS: Final = {
    "cache": ("cache", "Fetch packages, verify, transmute and publish them."),
    "transmute": ("transmute", "Convert archives between .tar.bz2 and .conda, member by member."),
    "backfill": ("backfill", "Give every conda package of a store its other form."),
    "resolve": ("resolve", "Turn requirements into environments that are locked, cached and named."),
    "env": ("env", "List, name, compare, import and export environments."),
    "warm": ("warm", "Make environments ready: in the store, on this node, verified."),
    "create": ("create", "Make an environment on this machine out of its packages."),
    "run": ("run", "Run a command in an environment, made when it is not there."),
    "shell": ("shell", "Open a shell in an environment."),
    "envs": ("envs", "List the environments on this machine."),
    "rm": ("rm", "Remove environments from this machine."),
    "clean": ("clean", "Free disk space: what is no longer used."),
    "pack": ("pack", "Make one relocatable object of an environment."),
    "installer": ("installer", "Publish what bare nodes need."),
    "ls": ("listing", "List the packages of a store."),
    "stat": ("stat", "Count the packages and bytes of a store."),
    "verify": ("verify", "Read and digest the packages of a store."),
    "config": ("config", "Show every setting, its value and where it came from."),
    "doctor": ("doctor", "Check this machine and the store, and say what to do."),
    "bench": ("bench", "Measure against other tools and the machine's limits."),
}

EXIT_CODES_HELP: Final = "\n".join(
    ["\b", "Exit codes:"]
    + [f"  {row.code:<4} {row.meaning}{' *' if row.retryable else ''}" for row in EXIT_CODES.values()]
    + ["  *    the same command may succeed when it is run again"]
)


class LazyGroup(click.Group):
    """Loads a command's module when it is run, so that `--help` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order that the help shows."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"asynccache_cli.{COMMANDS[cmd_name][0]}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} has no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, naming near ones when there is none."""
        import difflib  # noqa: PLC0415

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean `{near[0]}`?" if near else " `asynccache --help` lists them."
            ctx.fail(f"There is no command `{args[0]}`.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the listing without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=EXIT_CODES_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="asynccache")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--config-file", type=click.Path(dir_okay=False), help="Settings in TOML, instead of the usual place.")
@click.pass_context
def group(ctx: click.Context, /, *, debug: bool, config_file: str | None) -> None:
    """The package cache for conda and PyPI environments.

    \b
    Try:
      asynccache cache --from conda-lock.yml --format .conda
      asynccache ls
      asynccache doctor
    """
    del debug  # `main` looks for it, since a failure may come before this runs
    ctx.obj = {"config_file": config_file}
