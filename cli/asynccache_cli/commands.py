"""The command group, and options common to all commands."""

from __future__ import annotations

from typing import Final

import click

from asynccache import __version__
from asynccache.errors import EXIT_CODES
from asynccache_cli.lazy_group import LazyGroup
from asynccache_cli.options import kept_option

# command -> (module, attribute, one line for the listing): the listing must not import what the commands need
COMMANDS: Final = {
    "cache": ("cache", "command", "Fetch packages, verify, transmute and publish them."),
    "transmute": ("transmute", "command", "Convert archives between .tar.bz2 and .conda, member by member."),
    "backfill": ("backfill", "command", "Add the other format of every conda package in a store."),
    "resolve": ("resolve", "command", "Resolve requirements to locked, cached, named environments."),
    "env": ("env", "command", "List, name, compare, import and export environments."),
    "warm": ("warm", "command", "Make environments ready: in the store and on this node, verified."),
    "create": ("create", "command", "Create an environment on this machine from its packages."),
    "run": ("run", "run", "Run a command in an environment; create it if it is missing."),
    "shell": ("run", "shell", "Open a shell in an environment."),
    "envs": ("machine", "envs", "List the environments on this machine."),
    "rm": ("machine", "rm", "Remove environments from this machine."),
    "clean": ("machine", "clean", "Free disk space that is no longer needed."),
    "pack": ("pack", "command", "Publish an environment as one relocatable object."),
    "installer": ("installer", "command", "Publish what bare nodes need."),
    "ls": ("listing", "ls", "List the packages of a store."),
    "stat": ("listing", "stat", "Count the packages and bytes of a store."),
    "verify": ("verify", "command", "Read and digest the packages of a store."),
    "audit": ("audit", "command", "Check that a store is consistent, and repair it."),
    "plan": ("plan", "command", "Estimate what a command would do: objects, bytes, requests, seconds, cost."),
    "replicate": ("replicate", "command", "Copy the contents of one store to another."),
    "gc": ("gc", "command", "Remove unreachable objects; manage leases of deployed flows."),
    "report": ("report", "command", "Write a page about what a store holds and what refers to it."),
    "floor": ("floor", "command", "Show or set which clients may write to a store."),
    "config": ("config", "command", "Show every setting, its value and where the value comes from."),
    "doctor": ("doctor", "command", "Check this machine and the store, and say what to fix."),
    "bench": ("bench", "command", "Measure against other tools and the machine's limits."),
}

EXIT_CODES_HELP: Final = "\n".join(
    ["\b", "Exit codes:"]
    + [f"  {row.code:<4} {row.meaning}{' *' if row.retryable else ''}" for row in EXIT_CODES.values()]
    + ["  *    the same command may succeed when it is run again"]
)


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    epilog=EXIT_CODES_HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", prog_name="asynccache")
@kept_option("--debug", is_flag=True, help="Show the traceback of an error.")  # `main` looks for it: it may fail before
@kept_option("--config-file", type=click.Path(dir_okay=False), help="Settings in TOML, instead of the usual place.")
def group() -> None:
    """The package cache for conda and PyPI environments.

    \b
    Try:
      asynccache cache --from conda-lock.yml --format .conda
      asynccache ls
      asynccache doctor
    """
