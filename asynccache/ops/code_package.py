"""The code of a past step, unpacked beside its environment (contract, section 6.1.5).

Where the code package lies is read out of Metaflow's local datastore, else asked of Metaflow's client when it can be
imported. The package itself is read from a local path or out of S3; from elsewhere by Metaflow's client.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import shlex
from pathlib import Path
from typing import Any, Final

from asynccache.catalog.place import datastore_directory
from asynccache.catalog.runs import END
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
from asynccache.model.root import StoreRoot
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json

PYTHON_LINK: Final = "__conda_python"
SETUP: Final = "metaflow_setup.sh"
CODE: Final = ".mf_code"  # where Metaflow and its extensions lie in a code package
_CLIENT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A directory to work in.

    Attributes:
        directory: Where.
        code: Whether the step's code is in it.
        pythonpath: What its Python has to find modules in.
        notes: What the user should know, a sentence each.
    """

    directory: Path
    code: bool
    pythonpath: tuple[Path, ...]
    notes: tuple[str, ...]


def checked_directory(directory: Path, *, force: bool) -> None:
    """Refuse a directory that is not empty. Blocking.

    Raises:
        UsageError: It is not empty, or no directory, and `force` does not say to work there anyhow.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is no directory")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise UsageError(f"{directory} is not empty", hint="choose a new directory, or use --force")


async def place_code(
    settings: Settings,
    environment: ResolvedEnvironment,
    prefix: Path,
    directory: Path,
    *,
    pathspec: str | None,
    strict: bool = True,
) -> Placed:
    """Fill a directory with a link to the environment's Python, a step's code, and the variables to work with it.

    Args:
        settings: All settings.
        environment: Which.
        prefix: Where it is hydrated.
        directory: Where to; what is in it stays, but for files of the same names.
        pathspec: `Flow/Run/Step` whose code is wanted; None for none.
        strict: Fail when the step has no code package; else it is only said.

    Raises:
        FetchError: The step's code package is not recorded, or cannot be read.
        ArchiveError: It cannot be unpacked.
        DiskError: The directory cannot be written.
    """
    notes: list[str] = []
    code = False
    if pathspec is not None:
        try:
            await _unpack(settings, pathspec, directory)
            code = True
        except (FetchError, IntegrityError, ObjectNotFoundError) as exc:
            if strict:
                raise
            notes.append(str(exc))
    path = (directory, directory / CODE) if (directory / CODE).is_dir() else (directory,)
    await asyncio.to_thread(_write, environment, prefix, directory, path)
    return Placed(directory, code, path, tuple(notes))


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
    parts = pathspec.split("/")
    location = await asyncio.to_thread(_recorded, datastore_directory(settings), parts)
    if location is not None and location.startswith("/"):
        await asyncio.to_thread(_extracted, Path(location), directory)
    elif location is not None and location.startswith("s3://"):
        from asynccache.store.open import open_store, store_options  # noqa: PLC0415 - most need no other store

        root, _, name = location.rpartition("/")
        work = Workspace(settings.cache_dir).path / f"code-{os.getpid()}.tar"
        try:
            await asyncio.to_thread(work.parent.mkdir, parents=True, exist_ok=True)
            place = StoreRoot.parse(root, datastore="s3", endpoint=settings.s3_endpoint_url)
            async with open_store(place, store_options(settings)) as store:
                await store.download(name, work)
            await asyncio.to_thread(_extracted, work, directory)
        finally:
            await asyncio.to_thread(work.unlink, missing_ok=True)
    else:
        await _by_client(parts, location, directory)


def _recorded(datastore: Path, parts: list[str]) -> str | None:
    """Read where a step's code package lies out of the local datastore."""
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


async def _by_client(parts: list[str], location: str | None, directory: Path) -> None:
    shown = "/".join(parts)
    if importlib.util.find_spec("metaflow") is None:
        where = f"lies at {location}" if location else "is not recorded here"
        raise FetchRefusedError(
            f"the code package of {shown} {where}",
            hint="install metaflow to have it fetched, or use --no-strict to do without",
        )
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            found = await asyncio.to_thread(_asked, parts, directory)
    except TimeoutError:
        raise FetchError(
            f"Metaflow did not give the code package of {shown} within {_CLIENT_SECONDS:g} seconds"
        ) from None
    if not found:
        raise ObjectNotFoundError(
            f"{shown} has no code package: runs without remote steps keep none", hint="use --no-strict to do without"
        )


def _asked(parts: list[str], directory: Path) -> bool:
    """Unpack what Metaflow's client gives; tell whether it has something. Blocking; importing it takes a second."""
    metaflow: Any = importlib.import_module("metaflow")
    not_found = importlib.import_module("metaflow.exception").MetaflowNotFound
    try:
        step = metaflow.Step("/".join([*parts[:2], parts[2] if len(parts) > 2 else END]), _namespace_check=False)
        task = step[parts[3]] if len(parts) > 3 else step.task
    except (not_found, KeyError):
        return False
    code = task.code if task is not None else None
    if code is None:
        return False
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        code.tarball.extractall(directory, filter="data")
    return True


def _extracted(archive: Path, directory: Path) -> None:
    import tarfile  # noqa: PLC0415 - few environments come with code

    if not archive.is_file():
        raise ObjectNotFoundError(f"the code package {archive} is not there any more")
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(archive) as opened:
                opened.extractall(directory, filter="data")
        except (tarfile.TarError, EOFError) as exc:
            raise ArchiveError(f"the code package cannot be unpacked ({exc})") from exc
