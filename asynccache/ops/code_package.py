"""The code of a past step, unpacked beside its environment (contract, section 6.1.5).

The location of the code package is read from Metaflow's local datastore, or else obtained from Metaflow's client if it
can be imported. The package itself is read from a local path or a store; from elsewhere by Metaflow's client.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import shlex
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from asynccache.catalog.place import datastore_directory
from asynccache.catalog.runs import END, in_full
from asynccache.config import Settings
from asynccache.engine.workspace import Workspace
from asynccache.errors import (
    ArchiveError,
    FetchError,
    FetchRefusedError,
    IntegrityError,
    ObjectNotFoundError,
    UsageError,
)
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.node.store_kinds import kind_of
from asynccache.ops.recorded_metaflow import place_metaflow
from asynccache.runtime.late_loop import in_thread, loop_begins
from asynccache.runtime.scratch import scratch_directory

PYTHON_LINK: Final = "__conda_python"
SETUP: Final = "metaflow_setup.sh"
CODE: Final = ".mf_code"  # where Metaflow and its extensions are in a code package
_CLIENT_SECONDS: Final = 60.0
_VERSION: Final = "metaflow_version:"


@dataclass(frozen=True, slots=True)
class Placed:
    """A working directory.

    Attributes:
        directory: Its path.
        code: Whether the step's code is in it.
        pythonpath: Directories in which its Python has to find modules.
        notes: Notes for the user, one sentence each.
    """

    directory: Path
    code: bool
    pythonpath: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A step's code, before it is moved to its destination.

    Attributes:
        directory: The directory with the code; None if there is none.
        notes: Notes for the user, one sentence each.
    """

    directory: Path | None = None
    notes: tuple[str, ...] = ()


def checked_directory(directory: Path, *, force: bool) -> None:
    """Refuse a directory that is not empty, and create a missing one. Blocking.

    Raises:
        UsageError: It is not empty or not a directory, and `force` is not set.
        DiskError: It cannot be created.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is no directory")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise UsageError(f"{directory} is not empty", hint="choose a new directory, or use --force")
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def fetched_code(settings: Settings, pathspec: str | None, *, strict: bool) -> AsyncIterator[Code]:
    """Provide a step's code, or Metaflow and its extensions if the run kept no code, until the block ends.

    Args:
        settings: All settings.
        pathspec: `Flow/Run/Step` whose code is wanted; None for none.
        strict: Fail if it cannot be obtained; otherwise it is only noted.

    Raises:
        FetchError: The step's code package cannot be read, or there is none and the run's Metaflow cannot be obtained.
        ArchiveError: It cannot be unpacked.
        DiskError: No directory can be written.
    """
    if pathspec is None:
        yield Code()
        return
    async with scratch_directory("asynccache-code-") as directory:
        try:
            await _unpack(settings, pathspec, directory)
            code = Code(directory)
        except (FetchError, IntegrityError, ObjectNotFoundError) as exc:
            if strict:
                raise
            code = Code(None, (str(exc),))
        yield code


async def place_code(environment: ResolvedEnvironment, prefix: Path, directory: Path, code: Code) -> Placed:
    """Fill a directory with a link to the environment's Python, a step's code, and the variables to work with it.

    Args:
        environment: The environment.
        prefix: Where it is hydrated.
        directory: The target; existing files are kept, except those of the same names.
        code: The step's code.

    Raises:
        DiskError: The directory cannot be written.
    """

    def place() -> tuple[Path, ...]:
        if code.directory is not None:
            with disk_errors(directory):
                shutil.copytree(code.directory, directory, symlinks=True, dirs_exist_ok=True)
        path = (directory, directory / CODE) if (directory / CODE).is_dir() else (directory,)
        _write(environment, prefix, directory, path)
        return path

    return Placed(directory, code.directory is not None, await in_thread(place), code.notes)


def _write(environment: ResolvedEnvironment, prefix: Path, directory: Path, path: tuple[Path, ...]) -> None:
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        link = directory / PYTHON_LINK
        link.unlink(missing_ok=True)
        link.symlink_to(prefix / "bin" / "python")
        variables = {
            "_METAFLOW_CONDA_ENV": json.dumps(environment.id.as_list()),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PYTHONNOUSERSITE": "1",
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        (directory / SETUP).write_text("".join([*lines, f'export PATH={shlex.quote(str(prefix / "bin"))}:"$PATH"\n']))


async def _unpack(settings: Settings, pathspec: str, directory: Path) -> None:
    datastore = datastore_directory(settings)
    parts = await in_thread(in_full, datastore, pathspec)
    location = await in_thread(_recorded, datastore, parts)
    if location is not None and location.startswith("/"):
        await in_thread(_extracted, Path(location), directory)
    elif location is not None and kind_of(location) is not None:
        from asynccache.store.open import open_store  # noqa: PLC0415 - most need no other store
        from asynccache.store.options import store_options  # noqa: PLC0415 - most need no other store

        root, _, name = location.rpartition("/")
        work = Workspace(settings.cache_dir).path / f"code-{os.getpid()}.tar"
        try:
            await in_thread(work.parent.mkdir, parents=True, exist_ok=True)
            place = settings.other_root(root)
            async with open_store(place, store_options(settings)) as store:
                await store.download(name, work)
            await in_thread(_extracted, work, directory)
        finally:
            await in_thread(work.unlink, missing_ok=True)
    else:
        version = None if location else await in_thread(_recorded_version, datastore, parts)
        if version is None:
            version = await _by_client(parts, location, directory)
        if version is not None:
            await place_metaflow(settings, version, directory, CODE)


def _recorded(datastore: Path, parts: list[str]) -> str | None:
    """Read the location of a step's code package from the local datastore."""
    step = parts[2] if len(parts) > 2 else END
    task = parts[3] if len(parts) > 3 else "*"
    found = []
    if len(parts) > 1:
        for path in (datastore / parts[0] / parts[1] / step).glob(f"{task}/_meta/sysmeta_code-package_*.json"):
            try:
                record = read_json(path.read_bytes())
                found.append((float(record.get("ts_epoch", 0)), str(read_json(record["value"])["location"])))
            except (OSError, ValueError, KeyError, TypeError) as exc:
                raise IntegrityError(f"Metaflow's record {path} is damaged ({exc})") from exc
    return max(found)[1] if found else None


def _recorded_version(datastore: Path, parts: list[str]) -> str | None:
    """Read which Metaflow a run had from the local datastore; None for an unknown run."""
    if len(parts) < 2:
        return None
    try:
        return _version(
            read_json((datastore / parts[0] / parts[1] / "_meta" / "_self.json").read_bytes())["system_tags"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _version(tags: Iterable[str]) -> str | None:
    return next((tag.removeprefix(_VERSION) for tag in tags if tag.startswith(_VERSION)), None)


async def _by_client(parts: list[str], location: str | None, directory: Path) -> str | None:
    """Unpack the code from Metaflow's client; return which Metaflow the run had if there is no code."""
    shown = "/".join(parts)
    if importlib.util.find_spec("metaflow") is None:
        where = f"lies at {location}" if location else "is not recorded here"
        raise FetchRefusedError(
            f"the code package of {shown} {where}",
            hint="install metaflow to have it fetched, or use --no-strict to do without",
        )
    await loop_begins()
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            found, version = await in_thread(_asked, parts, directory)
    except TimeoutError:
        raise FetchError(
            f"Metaflow did not give the code package of {shown} within {_CLIENT_SECONDS:g} seconds"
        ) from None
    if not found and version is None:
        raise ObjectNotFoundError(
            f"{shown} has no code package, and which Metaflow it ran with is not recorded",
            hint="use --no-strict to do without",
        )
    return None if found else version


def _asked(parts: list[str], directory: Path) -> tuple[bool, str | None]:
    """Unpack the code from Metaflow's client; return whether there is any, and which Metaflow the run had. Blocking.

    Importing it takes a second.
    """
    metaflow: Any = importlib.import_module("metaflow")
    not_found = importlib.import_module("metaflow.exception").MetaflowNotFound
    try:
        step = metaflow.Step("/".join([*parts[:2], parts[2] if len(parts) > 2 else END]), _namespace_check=False)
        task = step[parts[3]] if len(parts) > 3 else step.task
    except (not_found, KeyError):
        return False, None
    code = task.code if task is not None else None
    if code is None:
        return False, _version(step.parent.system_tags)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        code.tarball.extractall(directory, filter="data")
    return True, None


def _extracted(archive: Path, directory: Path) -> None:
    import tarfile  # noqa: PLC0415 - few environments are created with code

    if not archive.is_file():
        raise ObjectNotFoundError(f"the code package {archive} is not there any more")
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(archive) as opened:
                opened.extractall(directory, filter="data")
        except (tarfile.TarError, EOFError) as exc:
            raise ArchiveError(f"the code package cannot be unpacked ({exc})") from exc
