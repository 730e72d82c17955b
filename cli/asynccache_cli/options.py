"""Options that several commands share, and the settings that they make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from asynccache.config import LoadedSettings, load_settings
from asynccache.errors import ConfigurationError

T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

store_option = click.option(
    "--store", metavar="ROOT", help="Store: a path, file://, or s3://bucket/prefix. Default: a local store of your own."
)
cache_dir_option = click.option(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Working directory of this machine."
)
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
    named = (ctx.obj or {}).get("config_file")
    return load_settings(flags, config_file=Path(named) if named else None)


def parse_format(text: str | None) -> str | None:
    """Accept `.conda`, `conda`, `.tar.bz2` and `tar.bz2`."""
    if text is None or text == "none":
        return text
    return text if text.startswith(".") else "." + text


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop when it is there, else on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read `I/N`, I from 1 to N.

    Raises:
        ConfigurationError: Anything else.
    """
    if text is None:
        return None
    index, separator, count = text.partition("/")
    if separator and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise ConfigurationError("--shard is wrong", expected="I/N with 1 <= I <= N", found=repr(text))


def human_bytes(count: float) -> str:
    """Write bytes in binary units.

    >>> human_bytes(1536)
    '1.5 KiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
