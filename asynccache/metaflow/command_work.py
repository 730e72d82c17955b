"""What `metaflow environment` does (contract, section 6.1)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metaflow._vendor import click

from asynccache.errors import AsyncCacheError, ObjectNotFoundError, PartialFailureError, UsageError
from asynccache.metaflow.environment_text import EnvironmentText, plain
from asynccache.metaflow.launch_settings import launch_settings
from asynccache.metaflow.loop_thread import LoopThread

if TYPE_CHECKING:
    from asynccache.api import Inputs, Presence, Resolved, ResolvedEnvironment, ResolveOptions, Session
    from asynccache.config import LoadedSettings, Settings

T = TypeVar("T")
_PROGRAM = "import sys; from asynccache_cli.main import main; main(sys.argv[1:])"


class Work:
    """The commands, with the options that are common to them.

    Args:
        quiet: Print lines for programs only.
        metadata: Metadata provider that knows the runs; None: as configured.
        datastore: Datastore type; None: as configured.
        conda_root: Root of the cache; None: as configured.
        quiet_file: File that gets the lines for programs, too.
    """

    def __init__(
        self,
        *,
        quiet: bool,
        metadata: str | None,
        datastore: str | None,
        conda_root: str | None,
        quiet_file: str | None,
    ) -> None:
        self._quiet = quiet
        self._metadata = metadata
        self._datastore = datastore
        self._conda_root = conda_root
        self._quiet_file = quiet_file
        self._loop = LoopThread()

    @cached_property
    def loaded(self) -> LoadedSettings:
        """All settings, and where they came from."""
        try:
            return launch_settings(self._datastore, {"conda_root": self._conda_root})
        except AsyncCacheError as exc:
            raise click.ClickException(str(exc)) from exc

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
            raise click.UsageError(str(exc)) from exc
        caching = self.settings.datastore not in _ignored()
        chosen = ResolveOptions(
            force=options["force"],
            dry_run=options["dry_run"],
            cache=caching,
            set_default=options["set_default"],
            local_only=options["local_only"],
        )
        resolved = self._run(self._resolved(inputs, chosen))
        if all(row.known for row in resolved.rows) and not options["aliases"]:
            raise click.ClickException("No environments to resolve, use --force to resolve them again")
        text = self._text()
        for row in resolved.rows:
            if row.environment is None:
                continue
            if self._quiet:
                self._line(row.arch, text.quiet(row.environment, row.aliases))
                continue
            self._say(f"### Environment for architecture {row.arch}")
            for line in text.long(row.environment, default=row.default, more=row.aliases):
                self._say(plain(line))

    def show(self, *, envs: Sequence[str], arch: str | None, pathspec: bool, local_only: bool) -> None:
        """Show environments."""
        place = _arch(arch)
        text = self._text()
        for name in envs:
            found = self._run(self._find(_named(name, pathspec), place, local_only=local_only))
            if self._quiet:
                self._line(f"{name}@{place}", "NOT_FOUND" if found is None else text.quiet(found))
            elif found is None:
                self._say(f"### Environment for '{name}' (arch '{place}') was not found")
            else:
                self._say(f"### Environment for '{name}' (arch '{place}'):")
                default = self._run(self._presence(found)).default
                for line in text.long(found, default=default):
                    self._say(plain(line))

    def get(self, *, env: str, arch: str | None, pathspec: bool, default: bool) -> None:
        """Fetch an environment into this machine's list."""
        name, place = _named(env, pathspec), _arch(arch)

        async def fetch() -> ResolvedEnvironment:
            async with self._session() as session:
                return (await session.get(name, arch=place, default=default)).environments[0]

        found = self._run(fetch())
        text = self._text()
        if self._quiet:
            self._line(f"{env}@{place}", text.quiet(found))
            return
        for line in text.long(found, default=default):
            self._say(plain(line))

    def alias(self, *, source_env: str, alias: str, pathspec: bool, local_only: bool) -> None:
        """Give a name to an environment."""
        name = _named(source_env, pathspec)

        async def give() -> None:
            async with self._session() as session:
                known = str((await session.find(name, local_only=True)).id) if local_only else name
                (await session.alias(known, alias)).raise_for_failures()

        self._run(give())
        if not self._quiet:
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
        prefix, created = self._run(self._create(_named(env, pathspec), pathspec=pathspec, **options))
        if self._quiet:
            self._line(str(prefix / "bin" / "python"))
        elif created:
            self._say(
                f"Conda environment '{prefix.name}' created locally, activate with `conda activate {prefix}` or"
                f" `asynccache shell {prefix}`"
            )
        else:
            self._say(f"Environment at '{prefix}' already created and valid")

    def pass_on(self, words: Sequence[str]) -> None:
        """Run a command of `asynccache` with the same settings."""
        from asynccache.config import settings_environment  # noqa: PLC0415 - when the command runs

        variables = {**os.environ, **settings_environment(self.loaded)}
        done = subprocess.run(  # noqa: S603 - our own program, with an argument list
            [sys.executable, "-c", _PROGRAM, *words], env=variables, check=False
        )
        if done.returncode:
            raise click.exceptions.Exit(done.returncode)

    async def _resolved(self, inputs: Inputs, options: ResolveOptions) -> Resolved:
        if not self._quiet:
            count = max(1, len(inputs.arches))
            click.echo(f"    Resolving {count} environment{'s' if count > 1 else ''} ...", nl=False, err=True)
        async with self._session() as session:
            resolved = await session.resolve(inputs, options=options)
        if not self._quiet:
            click.echo(f" done in {round(resolved.seconds)} seconds.", err=True)
            for note in resolved.notes:
                self._say(f"    {note}")
        resolved.raise_for_failures()
        return resolved

    async def _find(self, name: str, arch: str, *, local_only: bool) -> ResolvedEnvironment | None:
        async with self._session() as session:
            try:
                return await session.find(name, arch=arch, local_only=local_only)
            except ObjectNotFoundError:
                return None

    async def _create(
        self,
        env: str,
        *,
        pathspec: bool,
        arch: str | None,
        local_only: bool,
        force: bool,
        exist_ok: bool,
        strict: bool,
        into_dir: str | None,
        install_notebook: bool,
        name: str | None,
    ) -> tuple[Path, bool]:
        from asynccache.api import HydrateOptions  # noqa: PLC0415 - when the command runs

        place = _arch(arch)
        async with self._session() as session:
            try:
                await session.find(env, arch=place, local_only=local_only)
            except ObjectNotFoundError:
                raise ObjectNotFoundError(f"Environment '{env}' does not exist for architecture {place}") from None
            done = await session.create(
                env,
                name=name,
                arch=place,
                exist_ok=exist_ok,
                pathspec=pathspec,
                into_dir=into_dir,
                strict=strict,
                kernel=install_notebook,
                options=HydrateOptions(force),
            )
            await session.keep(done.environment)
        for note in done.notes[:5]:
            self._say(note)
        return done.prefix, done.created

    async def _presence(self, found: ResolvedEnvironment) -> Presence:
        async with self._session() as session:
            return (await session.presence(found))[0]

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        from asynccache.api import Session  # noqa: PLC0415 - when a command runs

        if self._metadata:
            from metaflow import metadata  # noqa: PLC0415

            metadata(self._metadata)
        async with Session(self.settings, say=self._say) as session:
            yield session

    def _text(self) -> EnvironmentText:
        return EnvironmentText(lambda found: self._run(self._presence(found)))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.call(work)
        except PartialFailureError as exc:
            reasons = "\n".join(f"  {what}: {error}" for what, error in exc.errors.items())
            raise click.ClickException(f"{exc}\n{reasons}") from exc
        except AsyncCacheError as exc:
            raise click.ClickException(str(exc)) from exc

    def _say(self, line: str) -> None:
        click.echo(line, err=True)

    def _line(self, *lines: str) -> None:
        for line in lines:
            click.echo(line, err=True)
        if self._quiet_file:
            Path(self._quiet_file).write_text("\n".join(lines) + "\n", "utf-8")


def _ignored() -> Sequence[str]:
    from metaflow import metaflow_config  # noqa: PLC0415

    found: Sequence[str] = metaflow_config.CONDA_IGNORE_CACHING_DATASTORES
    return found


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
