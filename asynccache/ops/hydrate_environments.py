"""Hydrating environments by their names, as the command line and Metaflow's commands ask for it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from asynccache.catalog.runs import END
from asynccache.engine.engine import Engine
from asynccache.errors import UsageError
from asynccache.hydrate import prefix as places
from asynccache.hydrate.from_pack import from_pack
from asynccache.hydrate.hydrate import Hydrated, HydrateOptions, Packed, hydrate
from asynccache.hydrate.kernel import install_kernel
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import parse_stem
from asynccache.model.platform import current_architecture
from asynccache.ops.code_package import Placed, checked_directory, place_code
from asynccache.ops.environments import Environments

KERNEL_PACKAGE = "ipykernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What is asked for.

    Attributes:
        text: The environment: any name of it, a pathspec, or the path of a document.
        arch: conda platform; None for this machine's.
        name: Directory name among this machine's environments; None for one made of its ids.
        prefix: Path instead of a name.
        pathspec: `text` must be a step's pathspec, whose code `into_dir` then gets.
        into_dir: Directory to work in, with the environment's Python and the step's code.
        strict: Fail when the step has no code package.
        kernel: Install a Jupyter kernel.
        options: How to hydrate.
    """

    text: str
    arch: str | None = None
    name: str | None = None
    prefix: Path | None = None
    pathspec: bool = False
    into_dir: Path | None = None
    strict: bool = True
    kernel: bool = False
    options: HydrateOptions = field(default_factory=HydrateOptions)


@dataclass(frozen=True, slots=True)
class Created:
    """What was done.

    Attributes:
        hydrated: The environment on disk.
        work: The directory to work in, when one was asked for.
        kernel: The kernel's directory, when one was asked for.
    """

    hydrated: Hydrated
    work: Placed | None = None
    kernel: Path | None = None

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        document = self.hydrated.as_document()
        if self.work is not None:
            document["into_dir"] = str(self.work.directory)
            document["code"] = self.work.code
            document["notes"] = [*self.hydrated.notes, *self.work.notes]
        if self.kernel is not None:
            document["kernel"] = str(self.kernel)
        return document


async def create(
    engine: Engine, catalog: Environments, wanted: Creation, *, packed: Packed | None = from_pack
) -> Created:
    """Hydrate an environment, and what was asked for beside it.

    Args:
        engine: An open engine.
        catalog: Where environments are found, on the engine's store.
        wanted: What.
        packed: As for `hydrate`; None for packages only.

    Raises:
        UsageError: Contradicting wishes.
        ResolutionError: What a kernel needs does not go with the environment.
        ObjectNotFoundError: No such environment.
        AsyncCacheError: As `hydrate` and `place_code`.
    """
    _check(wanted)
    if wanted.into_dir is not None:
        await engine.threads.run(checked_directory, wanted.into_dir, force=wanted.options.force)
    environment = await catalog.find(wanted.text, wanted.arch or current_architecture())
    if wanted.kernel and not has_package(environment, KERNEL_PACKAGE):
        environment = await _with_kernel(engine, catalog, environment, wanted)
    done = await hydrate(
        engine, environment, place_of(engine, environment, wanted), options=wanted.options, packed=packed
    )
    work = kernel = None
    if wanted.into_dir is not None:
        pathspec = wanted.text if wanted.pathspec else None
        work = await place_code(
            engine, environment, done.prefix, wanted.into_dir.absolute(), pathspec=pathspec, strict=wanted.strict
        )
    if wanted.kernel:
        pythonpath = work.pythonpath[0] if work else None
        kernel = await engine.threads.run(install_kernel, done.prefix, wanted.text, pythonpath=pythonpath)
    return Created(done, work, kernel)


async def _with_kernel(
    engine: Engine, catalog: Environments, environment: ResolvedEnvironment, wanted: Creation
) -> ResolvedEnvironment:
    """Resolve what a kernel needs on top of an environment, whose packages stay as they are locked."""
    from asynccache.ops.resolve import resolve  # noqa: PLC0415 - solving is loaded where something is solved
    from asynccache.ops.resolve_inputs import InputFile, Inputs, wanted_of  # noqa: PLC0415
    from asynccache.ops.resolve_request import ResolveOptions  # noqa: PLC0415

    pypi = environment.environment_type == "pypi-only"
    text = f"{KERNEL_PACKAGE}\n" if pypi else f"dependencies:\n  - {KERNEL_PACKAGE}\n"
    name = "requirements.txt" if pypi else "environment.yml"
    directory = await engine.threads.run(tempfile.mkdtemp, prefix="asynccache-kernel-")
    try:
        path = Path(directory) / name
        await engine.threads.run(path.write_text, text, "utf-8")
        inputs = Inputs(
            files=(InputFile(str(path)),),
            using=wanted.text,
            arches=(environment.id.arch,),
            name=f"{wanted.text} with {KERNEL_PACKAGE}",
        )
        asked = await wanted_of(inputs, engine.settings, catalog)
        options = ResolveOptions(set_default=False)
        resolved = await resolve(engine.settings, [asked], options=options, engine=engine, catalog=catalog)
    finally:
        await engine.threads.run(shutil.rmtree, directory, ignore_errors=True)
    resolved.raise_for_failures()
    found = resolved.rows[0].environment
    if found is None:
        raise UsageError(f"{KERNEL_PACKAGE} could not be resolved on top of {wanted.text}")
    return found


def place_of(engine: Engine, environment: ResolvedEnvironment, wanted: Creation) -> Path:
    """Return where an environment goes."""
    if wanted.prefix is not None:
        return wanted.prefix.expanduser()
    name = wanted.name or places.environment_name(environment.id, "tmp")
    return places.environments_directory(engine.settings) / places.checked_name(name)


def has_package(environment: ResolvedEnvironment, name: str) -> bool:
    """Tell whether a package of that name is in an environment, of either kind."""
    return any(parse_stem(p.kind, p.filename).name.replace("_", "-").lower() == name for p in environment.packages)


def _check(wanted: Creation) -> None:
    if wanted.name is not None and wanted.prefix is not None:
        raise UsageError("--name and --prefix exclude each other")
    if wanted.pathspec and not 1 <= wanted.text.count("/") <= 3:
        raise UsageError(f"{wanted.text!r} is no pathspec", expected=f"Flow/Run/Step (the step is {END} by default)")
    if wanted.kernel and wanted.name is None and wanted.prefix is None:
        raise UsageError("--install-notebook needs --name or --prefix", hint="a kernel's environment must last")
    if wanted.arch not in {None, current_architecture()} and (wanted.kernel or wanted.into_dir):
        raise UsageError(f"an environment for {wanted.arch} cannot run here")
