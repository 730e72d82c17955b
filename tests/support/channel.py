"""A real conda channel, built on this machine: an installed Python, PyPI wheels, and packages made for their features.

`cached_channel()` builds it once and finds it again afterwards; what it holds depends on the profile, the interpreter
and the builder's own source, which together name its directory. A channel is built aside and renamed into place, so a
build that is killed leaves nothing that could be taken for one, and processes that need the same channel at once wait
for a single build. Wheels come from whatever index pip is configured with.

    python -m tests.support.channel --out DIR            # writes a channel and prints its packages
    python -m tests.support.channel --profile full       # builds or finds the cached one and prints where it is
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from asynccache.errors import FetchError, UsageError
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from asynccache.model.url import redacted
from tests.support import feature_packages
from tests.support.channel_index import write_index
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.python_package import Interpreter, describe_interpreter, python_members, python_metadata
from tests.support.shared import making
from tests.support.testdata import REPOSITORY
from tests.support.wheel_package import wheel_package

_SMALL: Final = ("requests", "six", "tzdata")
_FULL: Final = (
    *_SMALL,
    "aiohttp",
    "jinja2",
    "msgpack",
    "numpy",
    "packaging",
    "pandas",
    "pydantic",
    "pyyaml",
    "rich",
)
# The others are published as one or the other by a checksum of the name.
_BOTH_FORMATS: Final = {"python", "requests", "feature-symlinks", "feature-many-files", "feature-large-file"}
_PIP_SECONDS: Final = 240


@dataclass(frozen=True, slots=True)
class Profile:
    """What a channel holds.

    Attributes:
        requirements: PyPI projects, whose dependencies come along.
        many_files: How many files the package of tiny files has.
        large_file_mib: Size of the large file, in MiB.
    """

    requirements: tuple[str, ...]
    many_files: int
    large_file_mib: int


PROFILES: Final[Mapping[str, Profile]] = {
    "small": Profile(_SMALL, many_files=200, large_file_mib=2),
    "full": Profile(_FULL, many_files=5000, large_file_mib=64),
}


@dataclass(frozen=True, slots=True)
class ChannelPackage:
    """One archive of a channel.

    Attributes:
        path: The file.
        subdir: conda platform directory.
        record: Its entry in `repodata.json`.
    """

    path: Path
    subdir: str
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """Package name."""
        return str(self.record["name"])

    def url(self, base: str) -> str:
        """Return where it is when the channel is served at `base`, with its md5 as fragment."""
        return f"{base.rstrip('/')}/{self.subdir}/{self.path.name}#{self.record['md5']}"


@dataclass(frozen=True, slots=True)
class Channel:
    """A built channel.

    Attributes:
        root: Directory that holds the subdirs.
        subdir: conda platform of its compiled packages.
        packages: Every archive, in order of subdir and file name.
    """

    root: Path
    subdir: str
    packages: tuple[ChannelPackage, ...]

    def one_format(self, *names: str) -> list[ChannelPackage]:
        """Return one archive of each package (the `.conda` one where there are two), of all or of those named."""
        chosen: dict[str, ChannelPackage] = {}
        for package in self.packages:
            stem = f"{package.subdir}/{package.record['name']}-{package.record['version']}-{package.record['build']}"
            if (not names or package.name in names) and (stem not in chosen or package.path.suffix == ".conda"):
                chosen[stem] = package
        return list(chosen.values())


def load_channel(root: Path) -> Channel:
    """Read a channel that was built before."""
    packages = []
    for directory in sorted(path for path in root.iterdir() if path.is_dir()):
        document = json.loads((directory / "repodata.json").read_bytes())
        records = document["packages"] | document["packages.conda"]
        packages += [ChannelPackage(directory / name, directory.name, records[name]) for name in sorted(records)]
    native = next((p.subdir for p in packages if p.subdir != "noarch"), "noarch")
    return Channel(root, native, tuple(packages))


def build_channel(
    out: Path, profile: Profile, *, python: str | Path | None = None, threads: int = 2, level: int = 6
) -> Channel:
    """Build a channel into `out`, which must not exist.

    Args:
        out: The channel's directory.
        profile: What it holds.
        python: Interpreter to package; by default the one that runs this, or the one below its virtual environment.
        threads: How many packages are compressed at a time.
        level: zstd level of `.conda` archives.

    Raises:
        FetchError: The wheels cannot be downloaded.
        UsageError: The interpreter cannot be packaged.
    """
    interpreter = describe_interpreter(python or sys.executable)
    subdir = current_architecture()
    for name in (subdir, "noarch"):
        (out / name).mkdir(parents=True)

    def write(recipe: Callable[[], feature_packages.Recipe]) -> None:
        metadata, members = recipe()
        write_package(out / metadata.subdir, metadata, members, _formats(metadata), level=level)

    with tempfile.TemporaryDirectory(prefix="wheels-") as scratch, ThreadPoolExecutor(threads) as pool:
        python_job = pool.submit(write, lambda: (python_metadata(interpreter, subdir), python_members(interpreter)))
        wheels = download_wheels(profile.requirements, Path(scratch), interpreter)
        recipes = feature_packages.feature_recipes(subdir)
        recipes += [
            lambda: feature_packages.python_abi(interpreter),
            lambda: feature_packages.many_files(profile.many_files),
            lambda: feature_packages.large_file(profile.large_file_mib),
        ]
        for wheel in sorted(wheels, key=lambda path: path.stat().st_size):
            recipes.append(_wheel_recipe(wheel, interpreter, subdir))
            if wheel.name.startswith("tzdata-"):
                recipes.append(_zone_recipe(wheel, interpreter, subdir))
        recipes.reverse()  # the large wheels first, so that no thread ends with one alone
        for job in [python_job, *(pool.submit(write, recipe) for recipe in recipes)]:
            job.result()
    write_index(out)
    return load_channel(out)


def _formats(metadata: Metadata) -> tuple[Format, ...]:
    if metadata.name in _BOTH_FORMATS:
        return (Format.CONDA, Format.TAR_BZ2)
    return (Format.TAR_BZ2 if zlib.crc32(metadata.name.encode()) % 2 else Format.CONDA,)


def _wheel_recipe(wheel: Path, interpreter: Interpreter, subdir: str) -> Callable[[], feature_packages.Recipe]:
    return lambda: wheel_package(wheel, interpreter, subdir)


def _zone_recipe(wheel: Path, interpreter: Interpreter, subdir: str) -> Callable[[], feature_packages.Recipe]:
    """Make conda's own `tzdata` out of the PyPI project of that name, which conda calls `python-tzdata`."""

    def recipe() -> feature_packages.Recipe:
        metadata, members = wheel_package(wheel, interpreter, subdir)
        start = "site-packages/tzdata/zoneinfo/"
        zones = [
            Member("share/zoneinfo/" + member.path.removeprefix(start), member.data)
            for member in members
            if member.path.startswith(start) and not member.path.endswith(".py")
        ]
        return Metadata(name="tzdata", version=metadata.version, build="h0000000_0", noarch="generic"), zones

    return recipe


def download_wheels(requirements: tuple[str, ...], directory: Path, interpreter: Interpreter) -> list[Path]:
    """Download projects and their dependencies as wheels for an interpreter.

    Raises:
        FetchError: pip fails, for instance because no index can be reached.
        UsageError: No pip is installed.
    """
    command = [_python_with_pip(interpreter), "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--python-version", interpreter.minor_version, "--dest", str(directory)]
    try:
        result = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, check=False, timeout=_PIP_SECONDS
        )
        reason = "" if result.returncode == 0 else redacted(" / ".join(result.stderr.strip().splitlines()[-2:]))
    except subprocess.TimeoutExpired:
        reason = f"no end after {_PIP_SECONDS} seconds"
    if reason:
        raise FetchError(
            f"pip cannot download {', '.join(requirements)} ({reason})",
            hint="check that the package index pip is configured with can be reached",
        )
    return sorted(directory.glob("*.whl"))


def _python_with_pip(interpreter: Interpreter) -> str:
    for candidate in (sys.executable, interpreter.executable):
        if subprocess.run([candidate, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    raise UsageError("no pip to download wheels with", hint=f"run `{sys.executable} -m ensurepip`")


def fingerprint(profile: Profile, python: str | Path | None = None) -> str:
    """Return 16 hexadecimal digits that change with whatever a channel is made from, but for new releases on PyPI."""
    interpreter = describe_interpreter(python or sys.executable)
    status = Path(interpreter.executable).stat()
    state = hashlib.sha256(json.dumps([asdict(profile), asdict(interpreter), status.st_size]).encode())
    here = Path(__file__).parent
    builders = ("channel", "channel_index", "conda_package", "feature_packages", "python_package", "wheel_package")
    for name in builders:
        state.update((here / f"{name}.py").read_bytes())
    return state.hexdigest()[:16]


def cached_channel(profile: str = "small", *, cache: Path | None = None, python: str | Path | None = None) -> Channel:
    """Return the channel of a profile, building it when it is not there yet.

    Args:
        profile: `small` (about 20 archives) or `full` (about 50).
        cache: Directory that holds channels; `.cache` in the repository by default.
        python: Interpreter to package, as in `build_channel`.

    Raises:
        FetchError: The wheels cannot be downloaded.
        UsageError: No such profile, or the interpreter cannot be packaged.
    """
    if profile not in PROFILES:
        raise UsageError("no such channel profile", expected=" or ".join(PROFILES), found=repr(profile))
    cache = cache or REPOSITORY / ".cache"
    root = cache / f"channel-{fingerprint(PROFILES[profile], python)}"
    if not root.is_dir():
        with making(root.with_name(f"{root.name}.lock")):
            if not root.is_dir():
                for leftover in cache.glob(f"{root.name}.building-*"):
                    shutil.rmtree(leftover)
                building = root.with_name(f"{root.name}.building-{os.getpid()}")
                try:
                    build_channel(building, PROFILES[profile], python=python)
                    building.rename(root)
                finally:
                    shutil.rmtree(building, ignore_errors=True)
    return load_channel(root)


def main() -> None:
    """Build a channel from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.channel", description="Build a real conda channel.")
    parser.add_argument("--out", type=Path, help="write a new channel here instead of into the cache")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="small")
    parser.add_argument("--python", help="interpreter to package (default: the one that runs this)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if arguments.out is None:
        channel = cached_channel(arguments.profile, python=arguments.python)
    else:
        channel = build_channel(arguments.out, PROFILES[arguments.profile], python=arguments.python)
    for package in channel.packages:
        print(f"{package.record['size']:>12,}  {package.subdir}/{package.path.name}", file=sys.stderr)  # noqa: T201 - a program's output
    seconds = time.perf_counter() - start
    total = sum(package.record["size"] for package in channel.packages)
    print(f"{len(channel.packages)} archives, {total:,} bytes, {seconds:.1f} s", file=sys.stderr)  # noqa: T201 - a program's output
    print(channel.root)  # noqa: T201 - a program's output


if __name__ == "__main__":
    main()
