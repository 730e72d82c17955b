"""What `metaflow environment` does (contract, section 6.1)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metaflow._vendor import click

from asynccache.errors import AsyncCacheError, ObjectNotFoundError, PartialFailureError, RunNotFoundError, UsageError
from asynccache.metaflow.environment_text import EnvironmentText
from asynccache.metaflow.launch_settings import launch_settings
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.metaflow.progress import Announcement, Progress
from asynccache.metaflow.resolve_steps import caching
from asynccache.metaflow.wording import in_metaflows_words

if TYPE_CHECKING:
    from asynccache.api import Alias, Created, Presence, ResolvedEnvironment, Session, events
    from asynccache.config import LoadedSettings, Settings

T = TypeVar("T")
_PROGRAM = "import sys; from asynccache_cli.main import main; main(sys.argv[1:])"


@dataclass
class Work:
    """The commands, with the options that are common to them.

    Args:
        quiet: Print lines for programs only.
        metadata: Metadata provider that knows the runs; None: as configured.
        datastore: Datastore type; None: as configured.
        conda_root: Root of the cache; None: as configured.
        quiet_file: File that gets the lines for programs, too.
    """

    quiet: bool = False
    metadata: str | None = None
    datastore: str | None = None
    conda_root: str | None = None
    quiet_file: str | None = None
    _loop: LoopThread = field(default_factory=LoopThread)

    @cached_property
    def loaded(self) -> LoadedSettings:
        """All settings, and where they came from."""
        with _messages():
            return launch_settings(self.datastore, {"conda_root": self.conda_root})

    @property
    def settings(self) -> Settings:
        """All settings."""
        return self.loaded.settings

    def resolve(self, *, requirement: Any, yml: Any, pyproject: Any, **options: Any) -> None:
        """Resolve what files and options ask for."""
        from asynccache.api import InputFile, Inputs, ResolveOptions  # noqa: PLC0415 - when the command runs
        from asynccache.model.platform import checked_architecture  # noqa: PLC0415

        given = ((yml, "environment.yml"), (requirement, "requirements.txt"), (pyproject, "pyproject.toml"))
        using = _one(options["using"], options["using_pathspec"], "--using")
        source = _one(options["source"], options["from_pathspec"], "--from")
        try:
            inputs = Inputs(
                tuple(InputFile(path, kind) for path, kind in given if path),  # type: ignore[arg-type]
                options["python"],
                tuple(checked_architecture(arch) for arch in options["arches"]),
                using=using,
                source=source,
                datastore=None if options["skip_metaflow_deps"] else self.settings.datastore,
                aliases=tuple(options["aliases"]),
            )
            inputs.check()
        except UsageError as exc:
            raise click.UsageError(in_metaflows_words(str(exc))) from exc
        chosen = ResolveOptions(
            force=options["force"],
            dry_run=options["dry_run"],
            cache=caching(self.settings.datastore),
            set_default=options["set_default"],
            local_only=options["local_only"],
        )
        announced = Announcement(partial(click.echo, err=True))
        count = max(1, len(inputs.arches))
        progress = Progress(announced.say, "Caching")

        def take(event: events.Event) -> None:
            announced.begin_with(event, f"Resolving {count} environment{'s' if count > 1 else ''} ...")
            progress.take(event)

        resolved = self._run(lambda session: session.resolve(inputs, options=chosen), take)
        if not self.quiet:
            announced.end(f"done in {round(resolved.seconds)} seconds.")
            for note in resolved.notes:
                self._say(f"    {in_metaflows_words(note)}")
        with _messages():
            resolved.raise_for_failures()
        for row in resolved.rows:
            if row.environment is not None:
                title = f"### Environment for architecture {row.arch}"
                self._print(row.environment, row.arch, title, default=row.default, more=row.aliases)

    def show(self, *, envs: Sequence[str], arch: str | None, pathspec: bool, local_only: bool) -> None:
        """Show environments."""
        place = _arch(arch)
        for name in (_named(env, pathspec) for env in envs):
            found = self._run(partial(_found, name=name, arch=place, local_only=local_only))
            title = f"### Environment for '{name}' (arch '{place}')"
            if found is not None:
                default = not self.quiet and self._presence(found).default
                self._print(found, f"{name}@{place}", f"{title}:", default=default, by_name=True)
            elif self.quiet:
                self._line(f"{name}@{place}", "NOT_FOUND")
            else:
                self._say(f"{title} was not found")

    def get(self, *, env: str, arch: str | None, pathspec: bool, default: bool) -> None:
        """Fetch an environment into this machine's list."""
        name, place = _named(env, pathspec), _arch(arch)
        taken = self._run(lambda session: session.get(name, arch=place, default=default))
        self._print(taken.environments[0], default=default)

    def alias(self, *, source_env: str, alias: str, pathspec: bool, local_only: bool) -> None:
        """Give a name to an environment."""
        name = _named(source_env, pathspec)

        async def give(session: Session) -> None:
            known = str((await session.find(name, local_only=True)).id) if local_only else name
            (await session.alias(known, alias)).raise_for_failures()

        self._run(give)
        if not self.quiet:
            self._say(f"{source_env} is known as {alias}")

    def create(self, *, env: str, pathspec: bool, **options: Any) -> None:
        """Create an environment on this machine."""
        looks_like_pathspec = env.startswith("step:") or (env.count("/") >= 2 and env[:1].isupper())
        if pathspec != looks_like_pathspec:
            raise click.UsageError(
                f"{env!r} is {'no' if pathspec else 'a'} pathspec: --pathspec says that ENV is Flow/Run/Step"
            )
        if options["install_notebook"] and not options["name"]:
            raise click.UsageError("--install-notebook requires --name: a kernel's environment must last")
        made = self.made(_named(env, pathspec), pathspec=pathspec, **options)
        if self.quiet:
            self._line(str(made.prefix / "bin" / "python"))
            return
        if not made.created:
            self._say(f"Environment at '{made.prefix}' already created and valid")
        self._say(
            f"Conda environment '{made.prefix.name}' created locally, activate with `conda activate {made.prefix}`"
            f" or `asynccache shell {made.prefix}`"
        )

    def made(
        self,
        env: str,
        *,
        force: bool,
        install_notebook: bool,
        arch: str | None = None,
        local_only: bool = False,
        **options: Any,
    ) -> Created:
        """Create an environment; report what its user should know.

        Args:
            env: Any name of it.
            force: Make it again.
            install_notebook: Install a Jupyter kernel.
            arch: conda platform; None for this machine's.
            local_only: Look on this machine only.
            options: As the verb takes them.

        Raises:
            ClickException: There is none, or it cannot be made.
        """
        from asynccache.api import HydrateOptions  # noqa: PLC0415 - when the command runs

        place = _arch(arch)

        async def create(session: Session) -> Created:
            if await _found(session, env, place, local_only=local_only) is None:
                raise ObjectNotFoundError(f"Environment '{env}' does not exist for architecture {place}")
            done = await session.create(
                env, arch=place, kernel=install_notebook, options=HydrateOptions(force), **options
            )
            await session.keep(done.environment)
            return done

        done = self._run(create)
        for note in done.notes[:5]:
            self._say(in_metaflows_words(note))
        return done

    def pass_on(self, words: Sequence[str]) -> None:
        """Run a command of `asynccache` with the same settings."""
        from asynccache.config import settings_environment  # noqa: PLC0415 - when the command runs

        variables = {**os.environ, **settings_environment(self.loaded)}
        done = subprocess.run(  # noqa: S603 - our own program, with an argument list
            [sys.executable, "-c", _PROGRAM, *words], env=variables, check=False
        )
        if done.returncode:
            raise click.exceptions.Exit(done.returncode)

    def _presence(self, found: ResolvedEnvironment) -> Presence:
        return self._run(lambda session: session.presence(found))[0]

    def _run(
        self, work: Callable[[Session], Coroutine[Any, Any, T]], take: Callable[[events.Event], None] | None = None
    ) -> T:
        if self.metadata:
            from metaflow import metadata  # noqa: PLC0415

            metadata(self.metadata)
        with _messages():
            emit = None if self.quiet else take
            return self._loop.verb(self.settings, work, say=lambda line: self._say(in_metaflows_words(line)), emit=emit)

    def _print(
        self,
        found: ResolvedEnvironment,
        name: str | None = None,
        title: str | None = None,
        *,
        default: bool,
        more: Sequence[Alias] = (),
        by_name: bool = False,
    ) -> None:
        """Print an environment: for programs, a line, after the name that was asked for; for people, below a title."""
        text = EnvironmentText(self._presence)
        if self.quiet:
            self._line(*([name] if name else []), text.quiet(found, more))
            return
        for line in [*([title] if title else []), *text.long(found, default=default, more=more, by_name=by_name)]:
            self._say(line)

    def _say(self, line: str) -> None:
        click.echo(line, err=True)

    def _line(self, *lines: str) -> None:
        for line in lines:
            click.echo(line, err=True)
        if self.quiet_file:
            Path(self.quiet_file).write_text("\n".join(lines) + "\n", "utf-8")


async def _found(session: Session, name: str, arch: str, *, local_only: bool) -> ResolvedEnvironment | None:
    try:
        return await session.find(name, arch=arch, local_only=local_only)
    except RunNotFoundError:
        raise
    except ObjectNotFoundError:
        return None


@contextmanager
def _messages() -> Iterator[None]:
    """Let click report what failed."""
    try:
        yield
    except PartialFailureError as exc:
        reasons = "\n".join(f"  {what}: {error}" for what, error in exc.errors.items())
        raise click.ClickException(in_metaflows_words(f"{exc}\n{reasons}")) from exc
    except AsyncCacheError as exc:
        raise click.ClickException(in_metaflows_words(str(exc))) from exc


def _named(name: str, pathspec: bool) -> str:
    return f"step:{name}" if pathspec and not name.startswith("step:") else name


def _one(name: str | None, pathspec: str | None, option: str) -> str | None:
    if name and pathspec:
        raise click.UsageError(f"{option} and {option}-pathspec exclude each other")
    return name or (f"step:{pathspec}" if pathspec else None)


def _arch(text: str | None) -> str:
    from asynccache.model.platform import wanted_architecture  # noqa: PLC0415 - when the command runs

    try:
        return wanted_architecture(text)
    except AsyncCacheError as exc:
        raise click.UsageError(str(exc)) from exc
