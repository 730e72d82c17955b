"""Options that several commands share, running a verb with what they say, and showing its result.

An option that makes a setting, and those that say how results are shown, are kept in click's context: `run_verb` and
`show` find them there, so a command takes only what is its own. An option that a command merely hands on has the name
of the parameter of the verb that takes it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing, nullcontext, suppress
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from asynccache.errors import UsageError
from asynccache_cli.main import stop_in_order

if TYPE_CHECKING:
    from asynccache.api import Session
    from asynccache.config import LoadedSettings
    from asynccache_cli.progress import Display

T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_KEPT: Final = "asynccache"  # in click's context: name -> value of the options that are kept
_SETTINGS: Final = "asynccache.settings"  # the same of those that make settings


def kept_option(*names: str, place: str = _KEPT, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Make an option whose value is kept in click's context instead of being given to the command."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        ctx.meta.setdefault(place, {})[parameter.name] = value

    return click.option(*names, expose_value=False, callback=keep, **attributes)


def setting_option(*names: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Make an option that gives the setting of its name; None where the option was not given."""
    return kept_option(*names, place=_SETTINGS, **attributes)


def kept(name: str) -> Any:
    """Return the value of an option that is kept; None when the command has no such option."""
    return click.get_current_context().meta.get(_KEPT, {}).get(name)


def given_settings() -> dict[str, object]:
    """Return the settings that the command's options give; None where an option was not given."""
    return dict(click.get_current_context().meta.get(_SETTINGS, {}))


def format_option(text: str) -> Callable[[Decorated], Decorated]:
    """Make the option that says in which form conda packages are wanted."""
    choice, shown = click.Choice([".conda", ".tar.bz2", "none"]), "[.conda|.tar.bz2|none]"
    return setting_option("--format", "preferred_format", type=choice, metavar=shown, help=text)


def quiet_option(text: str = "No progress.") -> Callable[[Decorated], Decorated]:
    """Make the option that silences displays."""
    return kept_option("--quiet", "-q", is_flag=True, help=text)


json_option = kept_option("--json", is_flag=True, help="Print JSON instead of text.")
arch_option = click.option("--arch", metavar="ARCH", help="Architecture, such as linux-64; default: this machine's.")
arches_option = click.option(
    "--arch",
    "arches",
    metavar="ARCH",
    multiple=True,
    help="Architecture, such as linux-64; repeat for several; default: this machine's.",
)
to_option = click.option("--to", required=True, type=click.Choice([".conda", ".tar.bz2"]), help="The form to make.")
level_option = setting_option("--level", "zstd_level", type=int, help="zstd level of written .conda archives.")
match_option = click.option(
    "--match", "pattern", metavar="GLOB", help="Only packages whose file name (or key, with a slash) matches."
)
allow_empty_option = click.option("--allow-empty", is_flag=True, help="Succeed although there is no package.")
force_option = click.option("--force/--no-force", default=False, help="Make it anew although there is one.")


def together(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Make one decorator of several options, which the help shows in this order."""

    def decorate(function: Decorated) -> Decorated:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


lock_options = together(
    arches_option,
    click.option("--environment", help="Environment to take from a pixi.lock; default: `default`."),
    click.option(
        "--python", help="Python version to choose wheels of a uv.lock or pylock.toml for; default: this one."
    ),
)
store_options = together(
    setting_option(
        "--store",
        metavar="ROOT",
        help="Store: a path, file://, or s3://bucket/prefix. Default: as configured, also for Metaflow, or your own.",
    ),
    setting_option(
        "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Working directory of this machine."
    ),
    setting_option("--s3-endpoint-url", metavar="URL", help="Address of a private S3 server."),
    setting_option("--s3-profile", help="AWS profile."),
    setting_option("--s3-region", help="AWS region."),
)
common_options = together(store_options, json_option)


def load(chosen: Mapping[str, object] | None = None) -> LoadedSettings:
    """Collect settings from this command's options, the environment and the configuration files.

    Args:
        chosen: Further ones that the command has made of its options.
    """
    from asynccache.config import load_settings  # noqa: PLC0415 - a command's help needs none

    named = kept("config_file")
    loaded = load_settings({**given_settings(), **(chosen or {})}, config_file=Path(named) if named else None)
    for line in loaded.warnings:
        click.echo(line, err=True)
    return loaded


def run_verb(
    verb: Callable[[Session], Coroutine[Any, Any, T]],
    *,
    display: Display | None = None,
    busy: bool = False,
    chosen: Mapping[str, object] | None = None,
) -> T:
    """Run one verb with this command's settings, and return its result; notes go to standard error.

    Args:
        verb: `lambda session: session.VERB(...)`.
        display: Shows what happens meanwhile.
        busy: Moves so much that it is worth loading a faster event loop.
        chosen: Settings that the command has made of its options.
    """
    settings = load(chosen).settings

    import asyncio  # noqa: PLC0415 - a command's help needs none

    from asynccache.api import Session  # noqa: PLC0415 - after the settings, so that a wrong one is told at once

    async def run() -> T:
        async with Session(settings, emit=display.take if display else None, say=warn) as session:
            return await verb(session)

    loop_factory = None
    if busy:
        with suppress(ImportError):
            import uvloop  # noqa: PLC0415

            loop_factory = uvloop.new_event_loop
    stop_in_order()
    with display or nullcontext(), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(run())


def run_listing(verb: Callable[[Session], AsyncGenerator[T]], take: Callable[[T], object]) -> None:
    """Run one verb that yields, and give each of its results on as it comes (see `run_verb`)."""

    async def run(session: Session) -> None:
        async with aclosing(verb(session)) as results:
            async for result in results:
                take(result)

    run_verb(run)


def show(result: T, text: Callable[[T], Iterable[str]]) -> T:
    """Print a result, its document where `--json` was given and lines of text otherwise; return it."""
    if kept("json"):
        show_json(result)
    else:
        for line in text(result):
            click.echo(line)
    return result


def show_json(value: object) -> None:
    """Print a line of JSON: results are shown by their documents."""
    click.echo(json.dumps(value, default=methodcaller("as_document")))


def parse_shard(text: str) -> tuple[int, int]:
    """Read `I/N`.

    Raises:
        UsageError: Anything else.
    """
    index, separator, count = text.partition("/")
    if separator and index.isdecimal() and count.isdecimal():
        return int(index), int(count)
    raise UsageError("--shard is wrong", expected="I/N with 1 <= I <= N", found=repr(text))


def warn(*sentences: str) -> None:
    """Say something on standard error that is no failure, at most ten sentences of it."""
    for sentence in sentences[:10]:
        click.echo(click.style("note: ", fg="yellow") + sentence, err=True)
    if len(sentences) > 10:
        warn(f"and {len(sentences) - 10} more such notes; --json shows them all")
