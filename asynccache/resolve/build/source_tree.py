"""Fetching sources into a directory of our own: archives checked and unpacked, repositories at their commit, copies."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from asynccache.engine.fetch import Fetcher
from asynccache.errors import BuildError, IntegrityError
from asynccache.model.digest import Digests
from asynccache.model.package import Format, Package, checked_stem, split_filename
from asynccache.model.url import PackageURL, redacted
from asynccache.resolve.build.source_address import Source
from asynccache.resolve.explain import last_lines
from asynccache.resolve.program import run_program
from asynccache.resolve.pypi.problem import Logins
from asynccache.resolve.pypi.uv_program import own_environment
from asynccache.runtime.late_loop import in_thread

# Of a working tree: what builds leave behind, and what only its developer needs.
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.egg-info", ".venv", ".tox", ".nox")


async def fetch_archive(fetcher: Fetcher, source: Source, directory: Path) -> tuple[Path, str]:
    """Return a published or local archive, checked, and its sha256.

    Args:
        fetcher: Fetches what is published.
        source: The source.
        directory: Existing directory for fetched files.

    Raises:
        IntegrityError: It has another digest or size than the index says.
        FetchError: It cannot be fetched.
    """
    build = source.build
    if source.path is None:
        # its name need not be that of a package: code hosts name archives by tag
        url, access = PackageURL.parse(build.location)
        stem, fmt = split_filename(url.filename)
        digests = Digests(md5=build.md5, sha256=build.sha256, size=build.size)
        package = Package(url, checked_stem(stem), fmt, digests, access)
        target = directory / package.filename
        result = await fetcher.fetch(package, target)
        fetched = result.digests.sha256
        return target, fetched if fetched is not None else await in_thread(file_sha256, target)
    digest = await in_thread(file_sha256, source.path)
    if build.sha256 and digest != build.sha256:
        raise IntegrityError(f"{source.path} has the wrong sha256", expected=build.sha256, found=digest)
    return source.path, digest


async def unpack(archive: Path, fmt: Format, subdirectory: str, directory: Path) -> Path:
    """Unpack a source archive and return the project in it.

    Raises:
        BuildError: It cannot be read, leaves its directory, or has no such project.
    """
    try:
        root = await in_thread(_unpack, archive, fmt, directory)
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as exc:
        raise BuildError(f"{archive.name} cannot be unpacked ({exc})") from exc
    return project(root, subdirectory, archive.name)


def _unpack(archive: Path, fmt: Format, directory: Path) -> Path:
    if fmt is Format.ZIP:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(directory)  # noqa: S202 - leaves out members outside the directory
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(directory, filter="data")
    entries = [entry for entry in directory.iterdir() if entry.is_dir()]
    return entries[0] if len(entries) == 1 else directory


def project(root: Path, subdirectory: str, name: str) -> Path:
    """Return the project's directory.

    Raises:
        BuildError: It is outside, or holds neither pyproject.toml nor setup.py.
    """
    path = root / subdirectory if subdirectory else root
    if not path.resolve().is_relative_to(root.resolve()):
        raise BuildError(f"the subdirectory {subdirectory!r} lies outside {name}")
    if not any((path / file).is_file() for file in ("pyproject.toml", "setup.py")):
        where = f"the subdirectory {subdirectory!r} of {name}" if subdirectory else name
        raise BuildError(f"{where} is no Python project", expected="pyproject.toml or setup.py in it")
    return path


async def copy_directory(source: Path, directory: Path) -> None:
    """Copy a source directory, so that the build does not change it. `build` at its top is left out.

    Raises:
        BuildError: It cannot be read.
    """

    def ignore(path: str, names: list[str]) -> set[str]:
        return _LEFT_OUT(path, names) | ({"build"} if path == os.fspath(source) else set())

    try:
        await in_thread(shutil.copytree, source, directory, symlinks=True, ignore=ignore)
    except (shutil.Error, OSError) as exc:
        raise BuildError(f"{source} cannot be read ({exc})") from exc


async def check_out(source: Source, directory: Path, logins: Logins, seconds: float) -> None:
    """Clone a repository and check its commit out, with its submodules.

    Credentials are passed to git in its environment.

    Raises:
        BuildError: git fails; the message has its last lines.
        ResolverMissingError: There is no git.
        ResolveTimeoutError: It takes too long.
    """
    address = source.repository
    login = logins.login(address)
    env = own_environment(os.environ) | {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "0"}
    secrets: list[str] = []
    if login is not None:
        secrets = [login.password, login.authorization.partition(" ")[2]]
        env |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{redacted(address)}.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: {login.authorization}",
        }

    async def git(*arguments: str | Path, required: bool = True) -> bool:
        finished = await run_program(["git", *arguments], env=env, timeout=seconds, name="git")
        if finished.returncode and required:
            raise BuildError(
                f"the repository {redacted(address)} cannot be obtained at {source.commit}:\n"
                f"{last_lines(finished.stderr, secrets)}"
            )
        return finished.returncode == 0

    # all of the history without its files: build backends read versions from tags
    await git("clone", "--quiet", "--no-checkout", "--filter=blob:none", "--", address, directory)
    if not await git("-C", directory, "checkout", "--quiet", "--detach", source.commit, required=False):
        await git("-C", directory, "fetch", "--quiet", "origin", source.commit)
        await git("-C", directory, "checkout", "--quiet", "--detach", source.commit)
    if (directory / ".gitmodules").is_file():
        await git("-C", directory, "submodule", "--quiet", "update", "--init", "--recursive")


def file_sha256(path: Path) -> str:
    """Return the digest of a file. Blocking."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
