"""Options that several commands share, running a verb with them, and showing its result.

Options that set a setting, and those that say how results are shown, are kept in click's context: `run_verb` and `show`
find them there, so a command takes only its own options. An option that a command merely passes on has the name of the
verb's parameter.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypedDict, TypeVar, cast

import click

from asynccache.errors import UsageError
from asynccache_cli import watching
from asynccache_cli.json_line import json_line
from asynccache_cli.main import collect_as_usual, stop_in_order
from asynccache_cli.quantities import parse_bytes, parse_rate
from asynccache_cli.text import echo, human_bytes

if TYPE_CHECKING:
    from asynccache.api import BackfillRun, Planned, Session, events
    from asynccache.config import LoadedSettings
    from asynccache_cli.json_line import LineType
    from asynccache_cli.progress import Display


class Documented(Protocol):
    """What `--json` can show."""

    def as_document(self) -> Mapping[str, Any]:
        """Return it as plain values."""


T = TypeVar("T")
D = TypeVar("D", bound="Documented | Mapping[str, Any]")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_KEPT: Final = "asynccache"  # in click's context: name -> value of the options that are kept
_SETTINGS: Final = "asynccache.settings"  # the same for options that set settings
_PLANNING: Final = "asynccache.planning"  # whether verbs are planned instead of run


def kept_option(*names: str, place: str = _KEPT, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Make an option whose value is kept in click's context instead of being given to the command."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        ctx.meta.setdefault(place, {})[parameter.name] = value

    return click.option(*names, expose_value=False, callback=keep, **attributes)


def setting_option(*names: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Make an option that sets the setting of its name; None if the option was not given."""
    return kept_option(*names, place=_SETTINGS, **attributes)


def kept(name: str) -> Any:
    """Return the value of an option that is kept; None if the command has no such option."""
    return click.get_current_context().meta.get(_KEPT, {}).get(name)


def given_settings() -> dict[str, object]:
    """Return the settings that the command's options set; None for an option that was not given."""
    return dict(click.get_current_context().meta.get(_SETTINGS, {}))


def listed(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    """Replace an argument `-` by the lines of standard input: a callback for arguments that can be repeated."""
    words: list[str] = []
    for word in value:
        if word == "-":
            words += filter(None, os.fsdecode(sys.stdin.buffer.read()).split("\n"))
        else:
            words.append(word)
    if not words:
        raise click.MissingParameter("the list on standard input is empty", ctx, parameter)
    return tuple(words)


def format_option(text: str) -> Callable[[Decorated], Decorated]:
    """Make the option that says in which format conda packages are wanted."""
    choice, shown = click.Choice([".conda", ".tar.bz2", "none"]), "[.conda|.tar.bz2|none]"
    return setting_option("--format", "preferred_format", type=choice, metavar=shown, help=text)


def quiet_option(text: str = "No progress.") -> Callable[[Decorated], Decorated]:
    """Make the option that silences progress displays."""
    return kept_option("--quiet", "-q", is_flag=True, help=text)


def _wanted(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        from asynccache_cli.figures import wanted  # noqa: PLC0415 - few ask for it

        wanted(ctx, parameter, value)


_FILE: Final = click.Path(dir_okay=False)
_json_lines = kept_option("--json", is_flag=True, help="Print JSON instead of text.")
_receipt = click.option(
    "--receipt",
    type=_FILE,
    expose_value=False,
    callback=_wanted,
    help="Write a JSON summary of the run: what was done, how long it took, how it ended.",
)
_metrics = click.option(
    "--metrics-file",
    type=_FILE,
    expose_value=False,
    callback=_wanted,
    help="Write figures for Prometheus (node exporter's textfile collector).",
)
arch_option = click.option("--arch", metavar="ARCH", help="Architecture, such as linux-64; default: this machine's.")
arches_option = click.option(
    "--arch",
    "arches",
    metavar="ARCH",
    multiple=True,
    help="Architecture, such as linux-64; repeat for several; default: this machine's.",
)
to_option = click.option("--to", required=True, type=click.Choice([".conda", ".tar.bz2"]), help="The format to make.")
level_option = setting_option("--level", "zstd_level", type=int, help="zstd level of written .conda archives.")
match_option = click.option(
    "--match", "pattern", metavar="GLOB", help="Only packages whose file name (or key, with a slash) matches."
)
allow_empty_option = click.option("--allow-empty", is_flag=True, help="Succeed even if there is no package.")
force_option = click.option("--force/--no-force", default=False, help="Build it again even if one exists.")


def together(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Make one decorator of several options, which the help shows in this order."""

    def decorate(function: Decorated) -> Decorated:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


json_option = together(_json_lines, _receipt, _metrics)
lock_options = together(
    arches_option,
    click.option("--environment", help="Environment to take from a pixi.lock; default: `default`."),
    click.option(
        "--python", help="Python version to choose wheels of a uv.lock or pylock.toml for; default: this one."
    ),
)
place_options = together(
    setting_option(
        "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Working directory of this machine."
    ),
    setting_option("--s3-endpoint-url", metavar="URL", help="Address of a private S3 server."),
    setting_option("--s3-profile", help="AWS profile."),
    setting_option("--s3-region", help="AWS region."),
)
store_options = together(
    setting_option(
        "--store",
        metavar="ROOT",
        help="Store: a path, file://, or s3://bucket/prefix. Default: as configured, also for Metaflow, or your own.",
    ),
    place_options,
)
common_options = together(store_options, json_option)


_shard_options = together(
    click.option(
        "--shard",
        metavar="auto|I/N",
        help="Process range I of N of the keys, from 1; auto: from Kubernetes or AWS Batch variables.",
    ),
    click.option("--shard-index", type=int, metavar="K", help="The same from 0, as schedulers count."),
    click.option("--shard-count", type=int, metavar="N", help="How many shards there are."),
    click.option("--run-id", metavar="TEXT", help="Name of the run; the same for all its shards."),
)


pace_options = together(
    setting_option(
        "--rate", "store_rate", type=parse_rate, metavar="N/s", help="Limit of requests to the store, such as 500/s."
    ),
    setting_option(
        "--max-bandwidth",
        "store_bandwidth",
        type=parse_bytes,
        metavar="SIZE",
        help="Limit of bytes per second to and from the store, such as 200M.",
    ),
)


def check_with_option(function: Decorated) -> Decorated:
    """Add `--check-with`."""
    return click.option(
        "--check-with",
        type=click.Choice(["cph"]),
        help="Also compare the result with conda-package-handling, as a second, independent check.",
    )(function)


def shard_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the options that select a shard; the command gets them as `shard` and `run_id`."""

    @functools.wraps(function)
    def chosen(
        *, shard: str | None, shard_index: int | None, shard_count: int | None, run_id: str | None, **what: Any
    ) -> Any:
        from asynccache.api import ShardChoice  # noqa: PLC0415 - a command's help needs none

        choice = ShardChoice.made(os.environ, shard=shard, index=shard_index, count=shard_count, run_id=run_id)
        return function(shard=choice.shard, run_id=choice.run_id, **what)

    return _shard_options(chosen)


merge_options = together(
    click.option(
        "--report",
        "report_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the progress of all shards as JSON.",
    ),
    click.option("--merge", type=click.IntRange(1), metavar="N", help="Only add up the results of N shards."),
)


def load(chosen: Mapping[str, object] | None = None) -> LoadedSettings:
    """Collect settings from this command's options, the environment and the configuration files.

    Args:
        chosen: Further settings that the command derives from its options.
    """
    from asynccache.config import load_settings  # noqa: PLC0415 - a command's help needs none

    named = kept("config_file")
    loaded = load_settings({**given_settings(), **(chosen or {})}, config_file=Path(named) if named else None)
    for line in loaded.warnings:
        echo(line, err=True)
    return loaded


class PlannedInsteadError(Exception):
    """A verb was planned instead of run: ends its command.

    Attributes:
        plan: What it would do.
    """

    def __init__(self, plan: Planned) -> None:
        super().__init__(plan.command)
        self.plan = plan


def plan_verbs(context: click.Context) -> None:
    """Have `run_verb` plan what the commands below this one would do."""
    context.meta[_PLANNING] = True


def not_planned(what: str) -> None:
    """Refuse to plan what has no plan.

    Args:
        what: For people, such as `--merge`.

    Raises:
        UsageError: It was to be planned.
    """
    if click.get_current_context().meta.get(_PLANNING):
        raise UsageError(f"{what} has no plan", hint=f"leave out `plan`, or {what}")


def run_verb(
    verb: Callable[[Session], Coroutine[Any, Any, T]],
    *,
    display: Display | None = None,
    busy: bool = False,
    known: bool = False,
    chosen: Mapping[str, object] | None = None,
) -> T:
    """Run one verb with this command's settings, and return its result; notes go to standard error.

    Args:
        verb: `lambda session: session.VERB(...)`.
        display: Shows what happens meanwhile.
        busy: Whether it transfers so much that a faster event loop is worth loading.
        known: Whether its result is often known already: the event loop starts only when it has to wait.
        chosen: Settings that the command derives from its options.
    """
    settings = load(chosen).settings
    planning = bool(click.get_current_context().meta.get(_PLANNING))
    display = None if planning else display

    import asyncio  # noqa: PLC0415 - a command's help needs none

    from asynccache.api import Session, named_command, run_late, with_beside  # noqa: PLC0415 - after the settings, whose errors are reported at once

    named_command(click.get_current_context().command_path)

    watchers = watching.begin(click.get_current_context().command_path)
    sinks = [each.take for each in ((display,) if display is not None else ()) + tuple(watchers)]

    def emit(event: events.Event) -> None:
        for sink in sinks:
            sink(event)

    async def run() -> T:
        async with Session(settings, emit=emit if sinks else None, say=warn) as session:
            if planning:  # each of its verbs takes what the one of the session takes
                return await verb(session.plan)  # type: ignore[arg-type]
            return await verb(session)

    def on_a_loop(work: Coroutine[Any, Any, T]) -> T:
        collect_as_usual()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work if display is None else with_beside(work, display.keep_showing()))

    loop_factory = None
    if busy:
        with suppress(ImportError):
            import uvloop  # noqa: PLC0415

            loop_factory = uvloop.new_event_loop
    stop_in_order()
    with display or nullcontext():
        result = run_late(run(), on_a_loop) if known else on_a_loop(run())
    for watcher in watchers:
        watcher.take_result(result)
    if planning:
        raise PlannedInsteadError(cast("Planned", result))
    return result


def run_listing(verb: Callable[[Session], AsyncGenerator[T]], take: Callable[[T], object]) -> None:
    """Run one verb that yields, and pass each of its results on as it comes (see `run_verb`)."""

    async def run(session: Session) -> None:
        async with aclosing(verb(session)) as results:
            async for result in results:
                take(result)

    run_verb(run)


def show(result: D, text: Callable[[D], Iterable[str]], *, as_json: bool | None = None) -> D:
    """Print a result, as its document if `--json` was given and as lines of text otherwise; return it."""
    if kept("json") if as_json is None else as_json:
        show_json("result", result)
    else:
        for line in text(result):
            echo(line)
    return result


def added_up(run: BackfillRun, made: str, there: str) -> Iterator[str]:
    """Yield what the shards of a run have done that converted or copied packages, or found them done."""
    counts = run.counts
    yield (
        f"{run.shards - len(run.unfinished)} of {run.shards} shards done: {counts.looked_at} packages,"
        f" {counts.made} {made} ({human_bytes(counts.made_bytes)}), {counts.there} {there},"
        f" {counts.failed} failed, {counts.skipped} are not selected"
    )


def show_json(kind: LineType, value: Documented | Mapping[str, Any]) -> None:
    """Print a line of JSON: results are shown by their documents."""
    echo(json_line(kind, value if isinstance(value, Mapping) else value.as_document()))


class Counted(TypedDict):
    """What a command found, one item after the other.

    Attributes:
        count: Number of item lines that came before.
        failed: How many of them report a failure.
    """

    count: int
    failed: int


class Items(Generic[D]):
    """Prints what a command finds, one after the other; with `--json` one line each, and the count as the last line.

    Args:
        text: Makes the lines of text for one of them.
    """

    def __init__(self, text: Callable[[D], Iterable[str]] | None = None) -> None:
        self._text = text
        self._count = self._failed = 0

    def show(self, item: D, *, failed: bool = False) -> None:
        """Print one.

        Args:
            item: The item.
            failed: Whether it reports a failure.
        """
        self._count += 1
        self._failed += failed
        if kept("json"):
            show_json("item", item)
        else:
            for line in self._text(item) if self._text is not None else ():
                echo(line)

    def end(self) -> None:
        """Print the end of the list."""
        if kept("json"):
            show_json("result", Counted(count=self._count, failed=self._failed))


def show_items(items: Sequence[D], text: Callable[[Sequence[D]], Iterable[str]]) -> None:
    """Print results that are complete, and as one table for people."""
    if not kept("json"):
        for line in text(items):
            echo(line)
        return
    lines = Items[D]()
    for item in items:
        lines.show(item)
    lines.end()


def write_json(path: Path, value: Documented) -> None:
    """Write a result as a line of JSON into a file, whole or not at all.

    Raises:
        DiskError: It cannot be written.
    """
    from asynccache_cli.files import write_whole  # noqa: PLC0415 - few commands write files

    write_whole(path, f"{json_line('result', value.as_document())}\n".encode())


def warn(*sentences: str) -> None:
    """Print notes, which are not failures, on standard error: at most ten sentences."""
    for sentence in sentences[:10]:
        echo(click.style("note: ", fg="yellow") + sentence, err=True)
    if len(sentences) > 10:
        warn(f"and {len(sentences) - 10} more such notes; --json shows them all")
