"""Wheels built from source, for this machine's architecture only (contract, sections 3.2 to 3.4, 5.2 and 10.6).

Wheels that the store already has are used. The others are built, each in a directory of its own with uv's isolated
build and the target's Python; every wheel must fit the target. A wheel whose source is not published gets another
version, so that it cannot be mistaken for a published one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from asynccache.engine.fetch import Fetcher
from asynccache.engine.host import Host
from asynccache.engine.keyring import ask_also
from asynccache.errors import AsyncCacheError, BuildError, PreconditionFailedError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from asynccache.resolve.build.source_address import Source, read_source, stored_address
from asynccache.resolve.build.source_tree import check_out, copy_directory, fetch_archive, file_sha256, project, unpack
from asynccache.resolve.build.wheel_rename import rename_wheel
from asynccache.resolve.explain import last_lines, timed_out
from asynccache.resolve.program import run_program
from asynccache.resolve.pypi.problem import ACROSS, Logins, PypiProblem
from asynccache.resolve.pypi.uv_program import UvProgram, build_constraints
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.resolver import SourceBuild
from asynccache.runtime.budget import Budget
from asynccache.runtime.clock import Deadline
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.tasks import run_works
from asynccache.store import layout
from asynccache.store.base import Store

_EPOCH: Final = "1704067200"  # 2024-01-01: builds that keep to SOURCE_DATE_EPOCH give the same bytes again
_WHEEL: Final = str(Format.WHEEL)
# How uv reports that an index lacks what a build needs; a refusal looks as if the package were absent.
_NOT_GIVEN: Final = re.compile(r"was not found in the package registry|no versions? of|\b40[13]\b")


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel for a source.

    Attributes:
        source: What was asked for.
        package: The package as in documents; `cached` is set for what the store has.
        files: Format -> local file that the store does not have yet: the wheel, and a published sdist.
    """

    source: SourceBuild
    package: EnvironmentPackage
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def wheel(self) -> Path | None:
        """The wheel; None if it is in the store."""
        return self.files.get(_WHEEL)


@dataclasses.dataclass(eq=False)
class WheelBuilder:
    """Builds wheels.

    Args:
        host: Settings and time.
        store: The store with earlier builds, which gets new ones.
        fetcher: Fetches sources.
        python: Returns the target's interpreter, from a prefix of `helper_environment.builder_environment`; called if
            something has to be built, possibly by several builds at once.
        target: Architecture, version of Python and glibc.
        problem: Indexes and flags for what builds need.
        directory: Existing directory for sources and wheels; the caller removes it after `publish`.
        locked: Whether the sources were named by a pylock.toml.

    Raises:
        UsageError: The target is of another architecture than this machine.
    """

    host: Host
    store: Store
    fetcher: Fetcher
    python: Callable[[], Awaitable[Path]]
    target: PythonTarget
    problem: PypiProblem
    directory: Path
    locked: bool = False

    def __post_init__(self) -> None:
        if self.target.arch != current_architecture():
            raise UsageError(ACROSS, hint=f"resolve for {current_architecture()} only")
        self._settings = self.host.settings
        self._logins = Logins(self._settings.auth)
        self._slots = Budget(self._settings.cpu_slots, "builds")

    async def build(self, sources: Sequence[SourceBuild], seconds: float) -> list[BuiltWheel]:
        """Return a wheel for each source, in their order.

        Args:
            sources: What has to be built.
            seconds: Time limit for all of them.

        Raises:
            BuildError: A build fails, produces none or several wheels, or wheels do not fit the target; all are listed.
            IntegrityError: An archive has the wrong digest.
            FetchError: A source cannot be fetched.
            ResolveTimeoutError: It takes longer than allowed.
        """
        uv = await in_thread(UvProgram, self._settings, self._logins)
        ends = Deadline(seconds, self.host.clock)

        async def one(number: int) -> BuiltWheel:
            return await self._one(uv, self.directory / str(number), sources[number], ends)

        try:
            async with asyncio.timeout(seconds):
                results = await run_works(range(len(sources)), one, room=self._slots)
        except TimeoutError:
            raise timed_out(seconds, f"building {len(sources)} wheels") from None
        failures = [result for result in results if isinstance(result, AsyncCacheError)]
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BuildError(f"{len(failures)} wheels could not be built:\n" + "\n".join(map(str, failures)))
        built = [result for result in results if isinstance(result, BuiltWheel)]
        unfit = [each.package.filename for each in built if not self._fits(each.package.filename)]
        if unfit:
            raise BuildError(
                f"wheels that were built are not compatible with the target architecture {self.target.arch} and Python"
                f" {self.target.version}",
                found=", ".join(unfit),
                hint="ask for versions that are published as wheels",
            )
        return built

    async def publish(self, built: BuiltWheel) -> EnvironmentPackage:
        """Put files into the store, at most one per file name (contract, section 3.4); return their keys.

        Raises:
            StoreError: The store cannot be written.
        """
        address = layout.SourceAddress.parse(built.package.url, "pypi")
        package = built.package
        stored = {parts.filename: key for key, parts in await self._listed(address)} if built.files else {}
        for fmt, path in built.files.items():
            filename = package.filename + fmt
            if filename in stored:
                key = stored[filename]
                # another build of the same was first: documents name what the store has
                hashes = {k: v for k, v in package.hashes.items() if k != fmt}
                package = replace(package, hashes=hashes).with_cached(fmt, key)
                continue
            digest = built.package.hashes[fmt]
            key = layout.archive_key(address, filename, digest, self._settings.packages_dirname)
            digests = Digests(sha256=digest, size=path.stat().st_size)
            # lost only to the same bytes, just written by another process
            with suppress(PreconditionFailedError):
                await self.store.upload(key, path, digests)
            package = package.with_cached(fmt, key)
        return package

    async def _one(self, uv: UvProgram, directory: Path, build: SourceBuild, ends: Deadline) -> BuiltWheel:
        source = await in_thread(read_source, build)
        await in_thread(directory.mkdir)
        archive, digest = None, build.sha256
        if source.kind in {"local archive", "local wheel"}:
            archive, digest = await fetch_archive(self.fetcher, source, directory)

        async def address(version: str | None) -> str:
            return await in_thread(stored_address, source, sha256=digest, version=version, locked=self.locked)

        stored = await address(build.version)
        if known := await self._known(source, stored):
            return BuiltWheel(build, known)
        if source.kind == "local wheel" and archive is not None:
            return await self._result(source, stored, archive)
        if source.published:
            archive, digest = await fetch_archive(self.fetcher, source, directory)
        tree = directory / "tree"
        if archive is not None:
            tree = await unpack(archive, source.format or Format.TAR_GZ, build.subdirectory, _made(tree))
        elif source.path is not None:
            await copy_directory(source.path, tree)
            tree = project(tree, build.subdirectory, str(source.path))
        else:
            await check_out(source, tree, self._logins, ends.left)
            tree = project(tree, build.subdirectory, build.name)
        wheel = await self._build(uv, tree, directory, build, ends)
        if source.published:
            return await self._result(source, stored, wheel, archive)
        renamed = await in_thread(rename_wheel, wheel, _made(directory / "renamed"))
        return await self._result(source, await address(str(parse_wheel_filename(wheel.name)[1])), renamed)

    async def _result(self, source: Source, address: str, wheel: Path, sdist: Path | None = None) -> BuiltWheel:
        """Describe a wheel, and the published sdist that it was built from."""
        files = {} if sdist is None else {str(source.format): sdist}
        files[_WHEEL] = wheel
        hashes = {fmt: await in_thread(file_sha256, path) for fmt, path in files.items()}
        stem = wheel.name.removesuffix(_WHEEL)
        return BuiltWheel(source.build, EnvironmentPackage("pypi", stem, address, next(iter(files)), hashes), files)

    async def _build(self, uv: UvProgram, tree: Path, directory: Path, build: SourceBuild, ends: Deadline) -> Path:
        python = await self.python()
        out = _made(directory / "wheel")
        arguments: list[str | Path] = [
            uv.path,
            "build",
            "--wheel",
            *uv.flags,
            "--python",
            python,
            "--build-constraints",
            await in_thread(build_constraints, directory),
            "--out-dir",
            out,
            *(["--offline"] if self._settings.offline else []),
            *uv.index_flags(self.problem),
            tree,
        ]
        env = uv.environment(self.problem) | {"SOURCE_DATE_EPOCH": _EPOCH}
        env["PATH"] = f"{python.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
        finished = await run_program(
            arguments,
            env=env,
            timeout=ends.left,
            name=f"building {build.name}",
            cwd=directory,
        )
        said = f"{finished.stdout}\n{finished.stderr}"
        if finished.returncode and not self._settings.offline and _NOT_GIVEN.search(said):
            program = python.with_name("keyring")
            if await in_thread(program.exists):
                ask_also(program)
            # each unknown can be found only once, so this ends
            if await in_thread(self._logins.ask_keyring, self.problem.indexes):
                return await self._build(uv, tree, directory, build, ends)
        if finished.returncode:
            secrets = self._logins.secrets(self.problem.addresses)
            shown = last_lines(said, secrets, count=20)
            raise BuildError(f"{build.name} could not be built from {build.location}:\n{shown}")
        wheels = sorted(path for path in out.iterdir() if path.name.endswith(_WHEEL))
        if len(wheels) != 1:
            names = ", ".join(path.name for path in wheels) or "none"
            raise BuildError(f"building {build.name} must give one wheel", expected="1", found=names)
        try:
            name = parse_wheel_filename(wheels[0].name)[0]
        except InvalidWheelFilename as exc:
            raise BuildError(f"building {build.name} gave a file that is no wheel", found=wheels[0].name) from exc
        if name != canonicalize_name(build.name):
            raise BuildError(f"building {build.name} gave another package", found=wheels[0].name)
        return wheels[0]

    async def _known(self, source: Source, address: str) -> EnvironmentPackage | None:
        """Return the best wheel that the store has for a source."""
        any_version = source.kind == "directory" and not self.locked
        ranked = []
        listed = await self._listed(layout.SourceAddress.parse(address, "pypi"), any_version=any_version)
        for key, parts in listed:
            if parts.format is Format.WHEEL and (rank := self._rank(parts.filename)) is not None:
                name, version = parse_wheel_filename(parts.filename)[:2]
                if name == canonicalize_name(source.build.name):
                    ranked.append((rank, str(version), key, parts))
        if not ranked:
            return None
        _, _, key, parts = min(ranked, key=lambda item: item[:3])
        fmt = str(source.format) if source.published and source.format else _WHEEL
        url = f"file://{layout.FAKE}/{parts.path}" if any_version else address
        hashes = {fmt: source.build.sha256} if source.published and source.build.sha256 else {}
        package = EnvironmentPackage("pypi", parts.stem, url, fmt, hashes).with_cached(_WHEEL, key)
        for other, also in listed:
            if also.stem == parts.stem and also.format == source.format and source.published:
                package = package.with_cached(fmt, other)
        return package if fmt in package.hashes else None

    async def _listed(
        self, address: layout.SourceAddress, *, any_version: bool = False
    ) -> list[tuple[str, layout.KeyParts]]:
        """List the archives below an address; with `any_version`, below its parent directory."""
        dirname = self._settings.packages_dirname
        directory = address.directory(dirname)
        if any_version:
            directory = directory.rpartition("/")[0]
        found: list[tuple[str, layout.KeyParts]] = []
        async for info in self.store.scan(directory + "/"):
            parts = layout.parse_key(info.key, dirname)
            if parts is not None and info.size and (any_version or parts.source_directory == directory):
                found.append((info.key, parts))
        return found

    def _rank(self, filename: str) -> int | None:
        try:
            tags = parse_wheel_filename(filename)[3]
        except InvalidWheelFilename:
            return None
        return min((self.target.ranks[tag] for tag in tags if tag in self.target.ranks), default=None)

    def _fits(self, stem: str) -> bool:
        return self._rank(stem + _WHEEL) is not None


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory
