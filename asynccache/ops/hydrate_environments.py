"""Hydrating environments by their names: their prefix, which existing one can be used, and additional requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from asynccache.catalog.runs import END
from asynccache.errors import HydrationError, UsageError
from asynccache.hydrate import prefix as places
from asynccache.hydrate.hydrated import Hydrated, HydrateOptions, use
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.naming import shortest_name
from asynccache.ops.opening import Opening
from asynccache.ops.vouching import trusted
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    from asynccache.ops.code_package import Placed

WithKernel = Callable[[Opening, ResolvedEnvironment, str], Awaitable[ResolvedEnvironment]]
"""Returns an environment that has what a kernel needs (`asynccache.ops.kernel_environment`), given its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What to create.

    Attributes:
        environment: The environment, or any name of it.
        arch: conda platform of an environment given by name; None for this machine's.
        kind: Whose it is: a step's, or a user's; an existing one of the other kind is used.
        name: Directory name among this machine's environments; None for one made of its ids.
        prefix: Path instead of a name.
        exist_ok: Accept an existing prefix of that name if it is this environment.
        pathspec: `environment` must be a step's pathspec, whose code `into_dir` then gets.
        into_dir: Working directory to prepare, with the environment's Python and the step's code.
        strict: Fail if neither the step's code nor the run's Metaflow can be obtained.
        kernel: Adds what a Jupyter kernel needs; None to install no kernel.
        options: How to hydrate.
    """

    environment: ResolvedEnvironment | str
    arch: str | None = None
    kind: places.PrefixKind = "tmp"
    name: str | None = None
    prefix: Path | None = None
    exist_ok: bool = True
    pathspec: bool = False
    into_dir: Path | None = None
    strict: bool = True
    kernel: WithKernel | None = None
    options: HydrateOptions = field(default_factory=HydrateOptions)

    @property
    def text(self) -> str:
        """The name by which it was requested."""
        if not isinstance(self.environment, str):
            return str(self.environment.id)
        return f"step:{self.environment.removeprefix('step:')}" if self.pathspec else self.environment


@dataclass(frozen=True, slots=True)
class Created(Documented):
    """What was done.

    Attributes:
        hydrated: The environment on disk.
        environment: The environment.
        name: The shortest name that commands accept for it on this machine.
        work: The working directory, if one was requested.
        kernel: The kernel's directory, if one was requested.
        fetched_bytes: Bytes of packages fetched meanwhile from the store or from upstream.
        store_requests: Requests to the store meanwhile, including those of others in the same session.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "*hydrated",
        "name",
        "package_count as packages",
        "into_dir",
        "code",
        "kernel",
        "fetched_bytes",
        "store_requests",
        "notes",
    )

    hydrated: Hydrated
    environment: ResolvedEnvironment
    name: str
    work: Placed | None = None
    kernel: Path | None = None
    fetched_bytes: int = 0
    store_requests: int = 0

    @property
    def prefix(self) -> Path:
        """Its prefix."""
        return self.hydrated.prefix

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.hydrated.python

    @property
    def created(self) -> bool:
        """Whether this call created it."""
        return self.hydrated.created

    @property
    def seconds(self) -> float:
        """Seconds from the call until it was complete."""
        return self.hydrated.seconds

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, one sentence each."""
        return (*self.hydrated.notes, *(self.work.notes if self.work else ()))

    @property
    def package_count(self) -> int:
        """Number of packages."""
        return len(self.environment.packages)

    @property
    def into_dir(self) -> Path | None:
        """The working directory, if one was requested."""
        return None if self.work is None else self.work.directory

    @property
    def code(self) -> bool | None:
        """Whether the step's code is in it; None if none was requested."""
        return None if self.work is None else self.work.code


async def create(opening: Opening, wanted: Creation) -> Created:
    """Hydrate an environment, and fulfil the additional requests.

    Args:
        opening: Store and engine are opened only where they are needed.
        wanted: What to create.

    Raises:
        UsageError: Arguments contradict each other.
        ResolutionError: What a kernel needs does not go with the environment.
        ObjectNotFoundError: No such environment.
        AsyncCacheError: As `hydrate` and `place_code`.
    """
    started = opening.clock.now()
    received, asked = opening.received_bytes, opening.store_requests
    _check(wanted)
    settings = opening.settings
    if wanted.into_dir is not None:
        from asynccache.ops.code_package import checked_directory, fetched_code, place_code  # noqa: PLC0415 - rarely requested

        await in_thread(checked_directory, wanted.into_dir, force=wanted.options.force)
    environment = wanted.environment
    if isinstance(environment, str):
        environment = await opening.find(wanted.text, wanted.arch)
    environment = await trusted(settings, environment)
    if wanted.kernel is not None:
        environment = await wanted.kernel(opening, environment, wanted.text)
    place = _place(opening, environment, wanted)
    done = await _existing(opening, place, environment, wanted, started)
    work = kernel = None
    if wanted.into_dir is None:
        done = done or await _made(opening, place, environment, wanted)
    else:
        into = wanted.into_dir.absolute()
        pathspec = wanted.text.removeprefix("step:") if wanted.pathspec else None
        # refuse what has to be refused before the environment is created
        async with fetched_code(settings, pathspec, strict=wanted.strict) as code:
            done = done or await _made(opening, place, environment, wanted)
            work = await place_code(environment, done.prefix, into, code)
    if wanted.kernel:
        from asynccache.hydrate.kernel import install_kernel  # noqa: PLC0415 - rarely requested

        pythonpath = work.pythonpath[0] if work else None
        kernel = await in_thread(install_kernel, done.prefix, wanted.text, pythonpath=pythonpath)
    return Created(
        done,
        environment,
        await _name(opening, environment, wanted),
        work,
        kernel,
        opening.received_bytes - received,
        opening.store_requests - asked,
    )


async def prefix_to_run(opening: Opening, environment: ResolvedEnvironment | str) -> Path:
    """Return the prefix of an environment, created if it is not on this machine, and record that it is used now.

    Args:
        opening: Store and engine are opened only where they are needed.
        environment: The environment, or any name of it; the name of a directory of this machine's environments takes
            precedence.

    Raises:
        AsyncCacheError: As `create`.
    """
    if isinstance(environment, str):
        meaning = await opening.meaning(environment, local_first=True)
        if meaning.prefix is not None:
            await in_thread(places.note_use, meaning.prefix)
            return meaning.prefix
        if meaning.document is None or meaning.digest:
            environment = await opening.find(environment)
        else:
            environment = meaning.document
    return (await create(opening, Creation(environment=environment, kind="step"))).prefix


async def _existing(
    opening: Opening, place: Path, environment: ResolvedEnvironment, wanted: Creation, started: float
) -> Hydrated | None:
    """Return an existing environment that can be used."""
    if wanted.options.force:
        return None
    named = wanted.name is not None or wanted.prefix is not None
    if named and not wanted.exist_ok and (there := await in_thread(places.read_marker, place)) is not None:
        what = "this environment" if there == environment.id else "another environment"
        raise HydrationError(
            f"'{place.name}' exists already and is {what}", hint="use --force to make it again, or --exist-ok"
        )
    notes: tuple[str, ...] = ()
    found = await in_thread(use, place, environment.id)
    if found is None and not named:
        from asynccache.hydrate.other_prefix import other_prefix  # noqa: PLC0415 - not for our own

        found = await in_thread(other_prefix, opening.settings, environment.id)
        notes = () if found is None else (f"{found} was made by another program, and is used as it is",)
    if found is None:
        return None
    return Hydrated(found, environment.id, False, False, False, opening.clock.now() - started, notes=notes)


async def _made(opening: Opening, place: Path, environment: ResolvedEnvironment, wanted: Creation) -> Hydrated:
    from asynccache.hydrate.from_pack import from_pack  # noqa: PLC0415 - not for existing ones
    from asynccache.hydrate.hydrate import hydrate  # noqa: PLC0415

    engine = await opening.engine()
    return await hydrate(engine.host, engine.sources, environment, place, options=wanted.options, packed=from_pack)


def _place(opening: Opening, environment: ResolvedEnvironment, wanted: Creation) -> Path:
    if wanted.prefix is not None:
        return wanted.prefix.expanduser().absolute()
    name = wanted.name or places.environment_name(environment.id, wanted.kind)
    return places.environments_directory(opening.settings) / places.checked_name(name)


async def _name(opening: Opening, environment: ResolvedEnvironment, wanted: Creation) -> str:
    if wanted.name is not None:
        return wanted.name
    if wanted.prefix is not None:
        text = str(wanted.prefix)
        return text if "/" in text or text.startswith("~") else f"./{text}"
    asked = wanted.environment if isinstance(wanted.environment, str) else ""
    if asked and wanted.arch in {None, current_architecture()}:
        known = await opening.local.known(wanted.text)
        asked = wanted.text if known is None or known.ids == (environment.id.req_id, environment.id.full_id) else ""
    return await shortest_name(opening.local, (environment.id.req_id, environment.id.full_id), asked)


def _check(wanted: Creation) -> None:
    if wanted.name is not None and wanted.prefix is not None:
        raise UsageError("--name and --prefix exclude each other")
    if wanted.pathspec and not 1 <= wanted.text.count("/") <= 3:
        raise UsageError(
            f"{wanted.environment!r} is no pathspec", expected=f"Flow/Run/Step (the step is {END} by default)"
        )
    if wanted.kernel and wanted.name is None and wanted.prefix is None:
        raise UsageError("--install-notebook needs --name or --prefix", hint="a kernel's environment must last")
    arch = None if wanted.arch is None else checked_architecture(wanted.arch)
    if arch not in {None, current_architecture()} and (wanted.kernel or wanted.into_dir):
        raise UsageError(f"an environment for {arch} cannot run here")
