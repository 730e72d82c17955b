"""`asynccache resolve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from asynccache.api import DATASTORES, RESOLVERS, format_names
from asynccache.errors import UsageError
from asynccache_cli.options import (
    common_options,
    format_option,
    kept,
    quiet_option,
    run_verb,
    setting_option,
    show_json,
)

if TYPE_CHECKING:
    from asynccache.api import InputKind, Inputs, Presence, Resolved, Session


@click.command("resolve")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--requirement", "-r", metavar="FILE", help="A requirements.txt.")
@click.option("--file", "-f", "yml", metavar="FILE", help="An environment.yml.")
@click.option("--pyproject", "-p", metavar="FILE", help="A pyproject.toml.")
@click.option("--arch", "arches", metavar="ARCH", multiple=True, help="Repeat for several; default: this machine's.")
@click.option("--python", metavar="CONSTRAINT", help="Python, such as 3.11.* or '>=3.8,<3.9'.")
@click.option("--using", metavar="ENV", help="Keep all packages of an environment, and add to them.")
@click.option("--using-pathspec", metavar="FLOW/RUN/STEP", help="The same for what a step used.")
@click.option("--from", "source", metavar="ENV", help="Resolve the requirements of an environment again.")
@click.option("--from-pathspec", metavar="FLOW/RUN/STEP", help="The same for what a step used.")
@click.option(
    "--metaflow-deps",
    "datastore",
    type=click.Choice(DATASTORES),
    help="Add what Metaflow needs on this datastore, as `metaflow environment resolve` does.",
)
@click.option("--environment", help="Environment to take from a pixi.lock; default: `default`.")
@click.option("--alias", "aliases", metavar="NAME[:TAG]", multiple=True, help="Alias to give; can be repeated.")
@click.option("--force/--no-force", default=False, help="Resolve even if an environment is known.")
@click.option("--dry-run", is_flag=True, help="Resolve and print; write nothing.")
@click.option("--local-only", is_flag=True, help="Look for known environments on this machine only.")
@click.option("--cache/--no-cache", default=True, help="Store packages and document.")
@click.option("--create", is_flag=True, help="Also create it on this machine, as `create` does.")
@click.option("--set-default/--no-set-default", default=True, help="Make it the local default for its requirements.")
@click.option(
    "--resolver",
    "resolvers",
    type=click.Choice(list(RESOLVERS)),
    multiple=True,
    help="Solver to use instead of the configured one; repeat for another type of environment.",
)
@setting_option("--exclude-newer", metavar="DATE", help="Leave out what was published after this day or time.")
@setting_option("--offline", is_flag=True, default=None, help="Do not contact channels or indexes.")
@format_option("Format in which the store keeps conda packages; none: as published.")
@quiet_option()
@common_options
def command(
    *,
    resolvers: tuple[str, ...],
    force: bool,
    dry_run: bool,
    cache: bool,
    create: bool,
    set_default: bool,
    local_only: bool,
    **what: Any,
) -> None:
    """Resolve requirements, cache the packages, publish the environment and give it aliases.

    FILE is {requirements}, or a lock: {locks}. Each FILE is an environment of its own, and all are resolved at once.
    Files given with -r, -f and -p are one environment; a lock beside them says what is found for what they ask.

    Several --arch are resolved together and get one id. A known request is not solved again. All failures are reported
    at the end and do not affect the rest. With --create the environment for this machine's architecture is also
    created: packages are extracted while others are fetched.

    \b
    Examples:
      asynccache resolve requirements.txt --python '3.11.*' --alias team/env:v1
      asynccache resolve -f environment.yml --arch linux-64 --arch osx-arm64 --json
      asynccache resolve -r more.txt --using team/env:v1 --dry-run
      asynccache resolve --from team/env:v1 --arch osx-arm64
      asynccache resolve -f environment.yml conda-lock.yml --arch linux-64
      asynccache resolve uv.lock --python 3.11.7
      asynccache resolve -f environment.yml --create

    Credentials come from addresses, the setting auth, .netrc, pip's configuration and the program keyring. The exit
    code says what failed: 10 requirements contradict each other, 11 a package is unknown, 12 an index does not answer,
    13 it took too long, 14 a program crashed, 15 a build failed.
    """
    chosen = {f"{RESOLVERS[name].kind}_dependency_resolver": name for name in resolvers}
    if len(chosen) < len(set(resolvers)):
        raise UsageError("--resolver names two programs for one type of environment", found=", ".join(resolvers))
    from asynccache.api import ResolveOptions  # noqa: PLC0415 - `--help` does without
    from asynccache_cli.resolve_text import ResolveDisplay, show  # noqa: PLC0415

    options = ResolveOptions(
        force=force, dry_run=dry_run, cache=cache, create=create, set_default=set_default, local_only=local_only
    )
    inputs = inputs_of(**what)

    async def work(session: Session) -> tuple[Resolved, list[Presence]]:
        resolved = await session.resolve(*inputs, options=options)
        return resolved, [] if kept("json") else await session.presence(*resolved.environments)

    resolved, presences = run_verb(work, display=ResolveDisplay(), known=True, chosen=chosen)
    if kept("json"):
        show_json("result", resolved)
    else:
        show(resolved, presences, dry_run=dry_run)
    resolved.raise_for_failures()


command.help = (command.help or "").format(requirements=format_names(lock=False), locks=format_names(lock=True))


def inputs_of(
    *,
    files: Sequence[str],
    requirement: str | None,
    yml: str | None,
    pyproject: str | None,
    using: str | None,
    using_pathspec: str | None,
    source: str | None,
    from_pathspec: str | None,
    aliases: Sequence[str],
    **rest: Any,
) -> list[Inputs]:
    """Combine the options into one `Inputs` for each environment.

    Raises:
        UsageError: Two of them exclude each other.
    """
    from asynccache.api import InputFile, Inputs  # noqa: PLC0415 - `--help` does without

    for first, second, name in ((using, using_pathspec, "using"), (source, from_pathspec, "from")):
        if first and second:
            raise UsageError(f"--{name} and --{name}-pathspec exclude each other")
    given: list[tuple[str | None, InputKind]] = [
        (yml, "environment.yml"),
        (requirement, "requirements.txt"),
        (pyproject, "pyproject.toml"),
    ]
    named = [InputFile(path, kind) for path, kind in given if path]
    further = [InputFile(path) for path in files]
    apart = [(file,) for file in further] if further and not named else [(*named, *further)]
    if len(apart) > 1 and aliases:
        raise UsageError(
            f"one name cannot mean {len(apart)} environments", hint="resolve the file that is to be named by itself"
        )
    return [
        Inputs(
            group,
            using=using or (f"step:{using_pathspec}" if using_pathspec else None),
            source=source or (f"step:{from_pathspec}" if from_pathspec else None),
            aliases=tuple(aliases),
            **rest,
        )
        for group in apart
    ]
