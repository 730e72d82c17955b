"""Virtual environments with Metaflow from PyPI, with and without asynccache installed in them.

They are made below `.cache`, once for each list of requirements and each state of the sources, under a file lock, so
that every test process uses the same ones.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from asynccache.errors import FetchError
from tests.support.channel import download_wheels
from tests.support.interpreters import find_interpreter
from tests.support.python_package import describe_interpreter
from tests.support.shared import making
from tests.support.testdata import REPOSITORY

METAFLOW = "metaflow==2.19.39"
LAUNCH = (METAFLOW, "boto3", "kubernetes", "requests")  # what a machine that submits to either has
# what Metaflow installs into an image for a datastore (`_get_install_dependencies_cmd`)
NODE = {
    "s3": ("boto3", "requests"),
    "azure": (
        "azure-identity", "azure-storage-blob", "azure-keyvault-secrets", "simple-azure-blob-downloader", "requests"
    ),
    "gs": (
        "google-cloud-storage", "google-auth", "simple-gcp-object-downloader", "google-cloud-secret-manager",
        "packaging", "requests",
    ),
}  # fmt: skip
_CACHE = REPOSITORY / ".cache" / "metaflow"
_SOURCES = ("asynccache", "cli", "metaflow_extensions")
_PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE")
_SECONDS = 600
_KEEP_SECONDS = 24 * 3600


class CannotInstallError(Exception):
    """The interpreter is not on this machine, or the requirements cannot be installed; tests skip."""


def launch_venv(*extra: str, python: str = "3.11", asynccache: bool = True) -> Path:
    """Return a virtual environment that can submit flows, asynccache installed from a wheel of the sources as they are.

    Args:
        extra: More requirements.
        python: Version of its interpreter.
        asynccache: False for Metaflow alone.

    Raises:
        CannotInstallError: There is no such interpreter, or the requirements cannot be installed.
        RuntimeError: The wheel cannot be built or installed.
    """
    return _venv((*LAUNCH, *extra), python, with_asynccache=asynccache)


def bare_venv(python: str = "3.12", datastore: str = "s3") -> Path:
    """Return a virtual environment with what Metaflow installs into an image for a datastore, and no more.

    Raises:
        CannotInstallError: There is no such interpreter, or the requirements cannot be installed.
    """
    return _venv(NODE[datastore], python, with_asynccache=False)


def node_wheels(datastore: str, python: str) -> Path:
    """Return a directory with the wheels of what Metaflow installs into an image for a datastore.

    Raises:
        CannotInstallError: There is no such interpreter, or they cannot be downloaded.
    """
    interpreter = find_interpreter(python)
    if interpreter is None:
        raise CannotInstallError(f"there is no Python {python} on this machine")
    place = _CACHE / f"wheels-{_digest([python, *NODE[datastore]])}"
    with making(place.with_suffix(".lock")):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE, prefix="wheels-") as scratch:
                try:
                    download_wheels(NODE[datastore], Path(scratch) / "all", describe_interpreter(str(interpreter)))
                except FetchError as error:
                    raise CannotInstallError(str(error)) from error
                (Path(scratch) / "all").rename(place)
    return place


@functools.cache
def _venv(requirements: tuple[str, ...], python: str, *, with_asynccache: bool) -> Path:
    key = _digest([python, *requirements])
    if with_asynccache:
        key = f"{key}-{source_digest()}"
    place = _CACHE / key
    with making(_CACHE / f"{key}.lock"):
        ready = place / ".ready"
        if not ready.exists():
            _make(place, requirements, python, with_asynccache=with_asynccache)
        ready.touch()
    _forget_old()
    return place


def _make(place: Path, requirements: Sequence[str], python: str, *, with_asynccache: bool) -> None:
    interpreter = place / "bin" / "python"
    base = find_interpreter(python)
    if base is None:
        raise CannotInstallError(f"there is no Python {python} on this machine")
    try:
        _uv("venv", "--quiet", "--clear", "--python", str(base), str(place))
        _uv("pip", "install", "--quiet", "--python", str(interpreter), *requirements)
    except RuntimeError as error:
        raise CannotInstallError(str(error)) from error
    if with_asynccache:
        with tempfile.TemporaryDirectory(prefix="asynccache-wheel-") as directory:
            # the extra, so that a requirement which is declared wrongly fails here
            wheel = f"asynccache[metaflow] @ {build_wheel(Path(directory)).as_uri()}"
            _uv("pip", "install", "--quiet", "--python", str(interpreter), wheel)


def build_wheel(directory: Path) -> Path:
    """Build a wheel of the sources as they are in `directory` (new files only there) and return its path.

    Raises:
        RuntimeError: The build failed.
    """
    copy = directory / "sources"
    copy.mkdir()
    for name in _PROJECT_FILES:
        shutil.copy2(REPOSITORY / name, copy)
    for name in _SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(
                REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
            )
    _uv("build", "--quiet", "--wheel", "--out-dir", str(directory / "dist"), str(copy))
    (wheel,) = (directory / "dist").glob("*.whl")
    return wheel


@functools.cache
def source_digest() -> str:
    """Return a short digest of everything that goes into the wheel."""
    return _digest(f"{path.relative_to(REPOSITORY)}\0{path.read_text()}" for path in _source_files())


def _source_files() -> list[Path]:
    files = [REPOSITORY / name for name in _PROJECT_FILES]
    for name in _SOURCES:
        found = (REPOSITORY / name).rglob("*")
        files += [p for p in found if p.is_file() and p.suffix in {".py", ".typed", ".json", ".txt"}]
    return sorted(files)


def _forget_old() -> None:
    """Remove environments of sources that have not been used for a day."""
    for ready in _CACHE.glob("*-*/.ready"):
        if time.time() - ready.stat().st_mtime > _KEEP_SECONDS:
            with making(_CACHE / f"{ready.parent.name}.lock"):
                shutil.rmtree(ready.parent, ignore_errors=True)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _uv(*words: str) -> None:
    # the user's own cache of wheels, whatever HOME a test has
    environment = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}
    environment.pop("VIRTUAL_ENV", None)
    command = [str(Path(sys.executable).with_name("uv")), *words]
    with tempfile.TemporaryDirectory(prefix="uv-", ignore_cleanup_errors=True) as scratch:
        done = subprocess.run(
            command,
            env={**environment, "TMPDIR": scratch},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        raise RuntimeError(f"`uv {words[0]}` failed: {done.stderr.strip()[-2000:]}")
