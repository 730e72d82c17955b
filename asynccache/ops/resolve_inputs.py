"""From files and options, as `asynccache resolve` takes them, to what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from asynccache.config import Settings
from asynccache.engine.verified import Verified
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.catalog import Catalog
from asynccache.ops.resolve_request import Wanted
from asynccache.ops.vouching import trusted
from asynccache.resolve.formats.locks import lock_format, no_lock
from asynccache.resolve.formats.registry import FileFormat, format_named, recognise
from asynccache.resolve.formats.text import read_text
from asynccache.resolve.requests.assemble import Machine, assemble, clone
from asynccache.resolve.requests.requirements import merge_requirements, with_conda_equals
from asynccache.resolve.requests.source_position import SourcePosition
from asynccache.runtime.late_loop import in_thread

InputKind = Literal["requirements.txt", "environment.yml", "pyproject.toml", "lock"]
# Files that are merged are read in this order (contract, section 6.1.1); of two that name a package the later counts.
_ORDER: Final[Sequence[str]] = ("environment.yml", "requirements.txt", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that says what is asked for.

    Attributes:
        path: Its path; `-` for standard input.
        kind: What it is; None: as its name says, else its content.
    """

    path: str
    kind: InputKind | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """One environment, as people ask for it.

    Attributes:
        files: Merged; at most one of them a lock, which then says what is found.
        python: Constraint of Python, such as `3.11.*`; None for that of the files, else the running one.
        arches: conda platforms; none for this machine's.
        using: Name of an environment that is extended.
        source: Name of an environment whose requirements are resolved again.
        datastore: Metaflow's datastore whose pins are added: `local`, `s3`, `azure` or `gs`; None for no pins.
        aliases: Names to give.
        environment: Environment to take from a pixi.lock.
        name: How rows and errors call it; None for the file's or the environment's name.
    """

    files: tuple[InputFile, ...] = ()
    python: str | None = None
    arches: tuple[str, ...] = ()
    using: str | None = None
    source: str | None = None
    datastore: str | None = None
    aliases: tuple[str, ...] = ()
    environment: str | None = None
    name: str | None = None

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            UsageError: Which two.
        """
        wrong = (
            (self.using and self.source, "--using and --from exclude each other"),
            (self.source and self.files, "--from takes its requirements from an environment, not from files"),
            (self.python and self.using, "--python and --using exclude each other: Python is that of the environment"),
            (self.python and self.source, "--python and --from exclude each other: Python is that of the environment"),
        )
        for found, sentence in wrong:
            if found:
                raise UsageError(sentence)
        if not (self.files or self.using or self.source):
            raise UsageError(
                "there is nothing to resolve", hint="give a file such as requirements.txt, or --using or --from ENV"
            )
        if {file.kind for file in self.files} >= set(_ORDER):
            raise UsageError(
                "-r, -f and -p exclude each other when all three are given", hint="give at most two of them"
            )


@dataclass(frozen=True, slots=True)
class _Text:
    path: str
    format: FileFormat
    text: str


async def wanted_of(inputs: Inputs, settings: Settings, catalog: Catalog, *, machine: Machine | None = None) -> Wanted:
    """Return what is asked for.

    Args:
        inputs: As the user gave them.
        settings: All settings.
        catalog: Where environments that are named are looked for.
        machine: What of this machine enters the request; found out when None.

    Raises:
        UsageError: A file cannot be read or is malformed (names file, line and reason), or options contradict.
        ObjectNotFoundError: No environment is known under a name, or not for an architecture.
        ConfigurationError: pip's configuration cannot be read.
    """
    inputs.check()
    machine = machine or Machine()
    arches = tuple(dict.fromkeys(map(checked_architecture, inputs.arches))) or (current_architecture(),)
    texts = [await in_thread(_read, file) for file in inputs.files]
    named = inputs.name or (texts[0].path if texts else inputs.using or inputs.source or "the environment")
    locks = [text for text in texts if text.format.lock]
    rest = sorted((t for t in texts if not t.format.lock), key=lambda t: _ORDER.index(t.format.name))
    bases = await _environments(catalog, inputs.using, arches) if inputs.using else {}
    sources = await _sources(catalog, inputs.source, arches, settings.all_archs) if inputs.source else {}

    def assembled() -> Wanted:
        if sources:
            asked = clone(sources, arches=arches, settings=settings, machine=machine)
            return Wanted(named, asked, inputs.aliases)
        options: dict[str, Any] = {"arches": arches, "settings": settings, "machine": machine}
        options |= {"datastore": inputs.datastore, "python": inputs.python}
        memory = Verified.own(settings.cache_dir)
        requirements = merge_requirements(
            [t.format.read_requirements(t.text, SourcePosition(t.path), memory) for t in rest]
        )
        requirements = with_conda_equals(requirements, settings.conda_equals)
        if locks:
            from asynccache.ops.resolve_locked import wanted_of_lock  # noqa: PLC0415 - imports the readers of locks

            contents = [(lock.path, lock.text) for lock in locks]
            return wanted_of_lock(inputs, contents, requirements if rest else None, options)
        if bases:
            from asynccache.resolve.extend import extend  # noqa: PLC0415 - imports version parsers

            return Wanted(named, extend(bases, requirements, name=inputs.using or "", **options), inputs.aliases)
        return Wanted(named, assemble(requirements, **options), inputs.aliases)

    # in a thread: it reads pip's configuration, and may run a program that tells of a GPU
    return await in_thread(assembled)


async def _environments(catalog: Catalog, name: str, arches: Sequence[str]) -> dict[str, ResolvedEnvironment]:
    return {arch: await trusted(catalog.settings, await catalog.find(name, arch)) for arch in arches}


async def _sources(
    catalog: Catalog, name: str, arches: Sequence[str], others: Sequence[str]
) -> dict[str, ResolvedEnvironment]:
    """Find an environment for some architecture: what was asked for is the same for all."""
    found: dict[str, ResolvedEnvironment] = {}
    failure: ObjectNotFoundError | None = None
    for arch in dict.fromkeys((*arches, *others)):
        if found and arch not in arches:
            break
        try:
            found[arch] = await catalog.find(name, arch)
        except ObjectNotFoundError as exc:
            failure = failure or exc
    if not found and failure is not None:
        raise failure
    return found


def _read(file: InputFile) -> _Text:
    text = read_text(file.path)
    return _Text(file.path, input_format(file, text), text)


def input_format(file: InputFile, text: str) -> FileFormat:
    """Return what a file is: what it is said to be, else what `recognise` says, else a requirements.txt.

    Raises:
        UsageError: A format that is not read.
    """
    if file.kind == "lock":
        return lock_format(file.path, text)
    found = format_named(file.kind) if file.kind else recognise(file.path, text) or format_named("requirements.txt")
    if not found.reader:
        raise no_lock(file.path, found)
    return found
