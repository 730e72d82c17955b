"""Options that several commands share, and the settings that they make."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asynccache.errors import UsageError
from asynccache_cli.main import stop_in_order

if TYPE_CHECKING:
    from asynccache.api import Session, events
    from asynccache.config import LoadedSettings

T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

store_option = click.option(
    "--store",
    metavar="ROOT",
    help="Store: a path, file://, or s3://bucket/prefix. Default: as configured, also for Metaflow, or your own.",
)
cache_dir_option = click.option(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Working directory of this machine."
)
arch_option = click.option("--arch", metavar="ARCH", help="Architecture, such as linux-64; default: this machine's.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def store_options(function: Decorated) -> Decorated:
    """Add what every command that opens a store takes."""
    for option in (
        click.option("--s3-region", help="AWS region."),
        click.option("--s3-profile", help="AWS profile."),
        click.option("--s3-endpoint-url", metavar="URL", help="Address of a private S3 server."),
        cache_dir_option,
        store_option,
    ):
        function = option(function)
    return function


def settings_from(ctx: click.Context, **flags: object) -> LoadedSettings:
    """Collect settings from this command's flags, the environment and the configuration files."""
    from asynccache.config import load_settings  # noqa: PLC0415 - a command's help needs none

    named = (ctx.obj or {}).get("config_file")
    loaded = load_settings(flags, config_file=Path(named) if named else None)
    for line in loaded.warnings:
        click.echo(line, err=True)
    return loaded


def run_verb(
    ctx: click.Context,
    flags: Mapping[str, object],
    verb: Callable[[Session], Coroutine[Any, Any, T]],
    *,
    emit: events.EventSink | None = None,
    busy: bool = False,
) -> T:
    """Run one verb with this command's settings, and return its result; notes go to standard error.

    Args:
        ctx: The command's.
        flags: Settings that the command's options give; None where an option was not given.
        verb: `lambda session: session.VERB(...)`.
        emit: Where events go.
        busy: Moves so much that it is worth loading a faster event loop.
    """
    settings = settings_from(ctx, **flags).settings

    import asyncio  # noqa: PLC0415 - a command's help needs none

    from asynccache.api import Session  # noqa: PLC0415 - after the settings, so that a wrong one is told at once

    async def run() -> T:
        async with Session(settings, emit=emit, say=warn) as session:
            return await verb(session)

    loop_factory = None
    if busy:
        with suppress(ImportError):
            import uvloop  # noqa: PLC0415

            loop_factory = uvloop.new_event_loop
    stop_in_order()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(run())


def run_listing(
    ctx: click.Context,
    flags: Mapping[str, object],
    verb: Callable[[Session], AsyncGenerator[T]],
    show: Callable[[T], None],
) -> None:
    """Run one verb that yields, and show each of its results as it comes (see `run_verb`)."""

    async def run(session: Session) -> None:
        async with aclosing(verb(session)) as results:
            async for result in results:
                show(result)

    run_verb(ctx, flags, run)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read `I/N`.

    Raises:
        UsageError: Anything else.
    """
    if text is None:
        return None
    index, separator, count = text.partition("/")
    if separator and index.isdecimal() and count.isdecimal():
        return int(index), int(count)
    raise UsageError("--shard is wrong", expected="I/N with 1 <= I <= N", found=repr(text))


def warn(sentence: str) -> None:
    """Say something on standard error that is no failure."""
    click.echo(click.style("note: ", fg="yellow") + sentence, err=True)
