"""From files and options, as `asynccache resolve` takes them, to what is asked for."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal

from asynccache.config import Settings
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.environments import Environments
from asynccache.ops.resolve_request import Wanted
from asynccache.resolve.assemble import Assembled, Machine, assemble, clone
from asynccache.resolve.requirements import Requirements, merge_requirements

InputKind = Literal["requirements.txt", "environment.yml", "pyproject.toml", "lock"]
# Files that are merged are read in this order (contract, section 6.1.1); of two that name a package the later counts.
_ORDER: Final[Sequence[InputKind]] = ("environment.yml", "requirements.txt", "pyproject.toml")
_NAMES: Final[Sequence[tuple[re.Pattern[str], InputKind]]] = (
    (re.compile(r"uv\.lock|pylock\.([^.]+\.)?toml|(.*[._-])?conda-lock\.ya?ml|(.*[._-])?pixi\.lock"), "lock"),
    (re.compile(r"pyproject\.toml"), "pyproject.toml"),
    (re.compile(r".*requirements.*\.(txt|in)"), "requirements.txt"),
)
_LOCKS: Final = re.compile(r"^(@EXPLICIT\b|lock-version\s*=|\[\[package\]\]|package:|environments:)", re.MULTILINE)


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


@dataclass(frozen=True, slots=True)
class _Text:
    path: str
    kind: InputKind
    text: str


async def wanted_of(
    inputs: Inputs, settings: Settings, catalog: Environments, *, machine: Machine | None = None
) -> Wanted:
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
    check(inputs)
    arches = tuple(dict.fromkeys(map(checked_architecture, inputs.arches))) or (current_architecture(),)
    texts = [await asyncio.to_thread(_read, file) for file in inputs.files]
    named = inputs.name or (texts[0].path if texts else inputs.using or inputs.source or "the environment")
    locks = [text for text in texts if text.kind == "lock"]
    rest = sorted((t for t in texts if t.kind != "lock"), key=lambda t: _ORDER.index(t.kind))
    bases = await _environments(catalog, inputs.using, arches) if inputs.using else {}
    sources = await _sources(catalog, inputs.source, arches, settings.all_archs) if inputs.source else {}
    # in a thread: it reads pip's configuration, and may run a program that tells of a GPU
    return await asyncio.to_thread(
        _assembled, inputs, settings, named, arches, locks, rest, bases, sources, machine or Machine()
    )


def check(inputs: Inputs) -> None:
    """Refuse options that exclude each other.

    Raises:
        UsageError: Which two.
    """
    wrong = (
        (inputs.using and inputs.source, "--using and --from exclude each other"),
        (inputs.source and inputs.files, "--from takes its requirements from an environment, not from files"),
        (inputs.python and inputs.using, "--python and --using exclude each other: Python is that of the environment"),
        (inputs.python and inputs.source, "--python and --from exclude each other: Python is that of the environment"),
    )
    for found, sentence in wrong:
        if found:
            raise UsageError(sentence)
    if not (inputs.files or inputs.using or inputs.source):
        raise UsageError(
            "there is nothing to resolve", hint="give a file such as requirements.txt, or --using or --from ENV"
        )
    if {file.kind for file in inputs.files} >= set(_ORDER):
        raise UsageError("-r, -f and -p exclude each other when all three are given", hint="give at most two of them")


def _assembled(
    inputs: Inputs,
    settings: Settings,
    named: str,
    arches: Sequence[str],
    locks: Sequence[_Text],
    rest: Sequence[_Text],
    bases: Mapping[str, ResolvedEnvironment],
    sources: Mapping[str, ResolvedEnvironment],
    machine: Machine,
) -> Wanted:
    asked: Mapping[str, Assembled]
    if sources:
        asked = clone(sources, arches=arches, settings=settings, machine=machine)
        return Wanted(named, asked, inputs.aliases)
    requirements = _requirements(rest)
    if locks:
        from asynccache.ops.resolve_locked import wanted_of_lock  # noqa: PLC0415 - brings the readers of locks

        return wanted_of_lock(
            inputs,
            settings,
            [(lock.path, lock.text) for lock in locks],
            arches=arches,
            requirements=requirements if rest else None,
            machine=machine,
        )
    if bases:
        from asynccache.resolve.extend import extend  # noqa: PLC0415 - brings version parsers

        asked = extend(
            bases,
            requirements,
            arches=arches,
            settings=settings,
            datastore=inputs.datastore,
            python=inputs.python,
            name=inputs.using or "",
            machine=machine,
        )
    else:
        asked = assemble(
            requirements,
            arches=arches,
            settings=settings,
            datastore=inputs.datastore,
            python=inputs.python,
            machine=machine,
        )
    return Wanted(named, asked, inputs.aliases)


def _requirements(texts: Sequence[_Text]) -> Requirements:
    from asynccache.resolve.requirement_files import RequirementFile, read_requirements  # noqa: PLC0415

    return merge_requirements([read_requirements(t.path, t.text, RequirementFile(t.kind)) for t in texts])


async def _environments(catalog: Environments, name: str, arches: Sequence[str]) -> dict[str, ResolvedEnvironment]:
    return {arch: await catalog.find(name, arch) for arch in arches}


async def _sources(
    catalog: Environments, name: str, arches: Sequence[str], others: Sequence[str]
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
    try:
        data = sys.stdin.buffer.read() if file.path == "-" else Path(file.path).read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{file.path} cannot be read ({reason})", hint="check the path") from exc
    return _Text(file.path, file.kind or recognise_input(file.path, text), text)


def recognise_input(path: str, text: str) -> InputKind:
    r"""Tell what a file is, by its name, else by its content.

    >>> recognise_input("ci/pylock.dev.toml", ""), recognise_input("env.txt", "@EXPLICIT\nhttps://...")
    ('lock', 'lock')
    >>> recognise_input("gpu.yaml", "dependencies: [numpy]"), recognise_input("-", "numpy>=1")
    ('environment.yml', 'requirements.txt')
    """
    name = PurePath(path).name
    for pattern, kind in _NAMES:
        if pattern.fullmatch(name):
            return kind
    if _LOCKS.search(text):
        return "lock"
    suffix = PurePath(path).suffix.lower()
    if suffix in {".yml", ".yaml"}:
        return "environment.yml"
    return "pyproject.toml" if suffix == ".toml" else "requirements.txt"
