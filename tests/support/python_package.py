"""The conda package `python`, made from an interpreter that is installed on this machine.

What is staged starts from any prefix: the standard library is found beside the executable, an absolute library path
inside the binaries is overwritten in place by one relative to `$ORIGIN`, and text files that name the old prefix get
the placeholder that a linker replaces. System libraries (libc, and whatever the extension modules link to) stay the
machine's own, so the package runs here and on machines like this one. Made on Linux; on macOS only interpreters that
find their library by `@rpath` or have it linked in can move, and framework builds are refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asynccache.errors import UsageError
from tests.support.conda_package import PLACEHOLDER, Member, Metadata

_SKIPPED_DIRECTORIES: Final = {
    "__pycache__",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
_SKIPPED_FILES: Final = re.compile(
    r".*\.(a|o|pyc|pyo)|EXTERNALLY-MANAGED|sitecustomize\.py|(_test|_ctypes_test|xxlimited|xxsubtype|_tkinter).*\.so"
)
_SHARED_PREFIXES: Final = {"/", "/usr", "/usr/local"}  # their name occurs in text that does not mean them
_STRIP_SECONDS: Final = 60
_BASE_QUESTION: Final = "import json, sys; print(json.dumps(getattr(sys, '_base_executable', None)))"
_QUESTIONS: Final = """
import json, site, sys, sysconfig
value = sysconfig.get_config_var
print(json.dumps({
    "executable": sys.executable,
    "prefix": sys.base_prefix,
    "version": ".".join(map(str, sys.version_info[:3])),
    "standard_library": sysconfig.get_path("stdlib"),
    "include": sysconfig.get_path("include", "posix_prefix"),
    "shared": bool(value("Py_ENABLE_SHARED")),
    "framework": bool(value("PYTHONFRAMEWORK")),
    "library": value("INSTSONAME") or value("LDLIBRARY") or "",
    "library_directories": [d for d in (value("LIBDIR"), value("LIBPL")) if d],
    "multiarch": value("MULTIARCH") or "",
    "site_packages": any(p.endswith("site-packages") for p in site.getsitepackages()),
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An installed CPython, as it describes itself.

    Attributes:
        executable: The binary itself, outside of any virtual environment.
        prefix: Where it is installed.
        version: Such as `3.11.7`.
        standard_library: Directory of `os.py`.
        include: Directory of `Python.h`; need not exist.
        shared: Whether the executable needs libpython as a shared library.
        framework: Whether it is a macOS framework build.
        library: File name of libpython.
        library_directories: Where libpython may be.
        multiarch: Debian's subdirectory for libraries, or empty.
        site_packages: Whether it looks for packages in `site-packages` by itself; Debian's looks in `dist-packages`.
    """

    executable: str
    prefix: str
    version: str
    standard_library: str
    include: str
    shared: bool
    framework: bool
    library: str
    library_directories: list[str]
    multiarch: str
    site_packages: bool

    @property
    def minor_version(self) -> str:
        """Such as `3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def tag(self) -> str:
        """Such as `311`."""
        return self.minor_version.replace(".", "")

    @property
    def site_packages_path(self) -> str:
        """Where packages go, relative to a prefix."""
        return f"lib/python{self.minor_version}/site-packages"


def describe_interpreter(executable: str | Path) -> Interpreter:
    """Ask an interpreter where its parts are.

    Raises:
        UsageError: It cannot be run, or its kind cannot be moved to another prefix.
    """
    try:
        # A virtual environment's own answers differ, so the interpreter below it is asked.
        base = json.loads(_answer(executable, _BASE_QUESTION)) or os.fspath(executable)
        interpreter = Interpreter(**json.loads(_answer(base, _QUESTIONS)))
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise UsageError(f"{executable} does not answer as a Python interpreter ({type(exc).__name__})") from exc
    if interpreter.framework:
        raise UsageError(
            f"{executable} is a framework build, which cannot be moved to another prefix",
            hint="name another interpreter with --python",
        )
    return interpreter


def _answer(executable: str | Path, program: str) -> str:
    command = [executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def python_metadata(interpreter: Interpreter, subdir: str) -> Metadata:
    """Return the metadata of the package `python`."""
    minor = interpreter.minor_version
    return Metadata(
        name="python",
        version=interpreter.version,
        build="h0000000_0_cpython",
        subdir=subdir,
        depends=(
            f"python_abi {minor}.* *_cp{interpreter.tag}",
            "tzdata",
            *(("__glibc >=2.17,<3.0.a0",) if subdir.startswith("linux") else ()),
        ),
        license="PSF-2.0",
        summary="CPython as installed on the machine that made this package",
        python_site_packages_path=interpreter.site_packages_path,
    )


def python_members(interpreter: Interpreter) -> list[Member]:
    """Return the files of the package `python`, about 1,200 of them, 25 MB before compression."""
    minor = interpreter.minor_version
    library = f"lib/python{minor}"
    members = {f"bin/python{minor}": _file(interpreter, Path(interpreter.executable), f"bin/python{minor}")}
    for name in ("python", "python3"):
        members[f"bin/{name}"] = Member(f"bin/{name}", symlink=f"python{minor}")
    for script in (f"pydoc{minor}", f"python{minor}-config"):
        source = Path(interpreter.prefix) / "bin" / script
        if interpreter.prefix not in _SHARED_PREFIXES and source.is_file():
            members[f"bin/{script}"] = _file(interpreter, source, f"bin/{script}")
    if interpreter.shared:
        members |= {member.path: member for member in _library_members(interpreter)}
    trees = ((Path(interpreter.standard_library), library), (Path(interpreter.include), f"include/python{minor}"))
    for directory, destination in trees:
        for source, path in _walk(directory, destination):
            link = _internal_link(source, directory)
            members[path] = Member(path, symlink=link) if link else _file(interpreter, source, path)
    readme = f"{interpreter.site_packages_path}/README.txt"
    members[readme] = Member(readme, b"Packages of this environment.\n")
    if not interpreter.site_packages:
        text = (
            "# This interpreter does not look for packages in site-packages by itself.\n"
            "import os\nimport site\nimport sys\n\n"
            f'site.addsitedir(os.path.join(sys.prefix, "lib", "python{minor}", "site-packages"))\n'
        )
        members[f"{library}/sitecustomize.py"] = Member(f"{library}/sitecustomize.py", text.encode())
    return list(members.values())


def _walk(directory: Path, destination: str) -> Iterator[tuple[Path, str]]:
    for place, directories, files in os.walk(directory):
        directories[:] = sorted(
            name for name in directories if name not in _SKIPPED_DIRECTORIES and not name.startswith("config-")
        )
        for name in sorted(files):
            source = Path(place) / name
            if not _SKIPPED_FILES.fullmatch(name) and source.is_file():
                yield source, f"{destination}/{source.relative_to(directory).as_posix()}"


def _internal_link(source: Path, directory: Path) -> str | None:
    """Return the target of a relative link that stays within the tree; anything else is copied."""
    if not source.is_symlink():
        return None
    target = source.readlink()
    inside = source.resolve().is_relative_to(directory.resolve())
    return None if target.is_absolute() or not inside else str(target)


def _library_members(interpreter: Interpreter) -> Iterator[Member]:
    places = [Path(place) for place in interpreter.library_directories]
    places += [place / interpreter.multiarch for place in places if interpreter.multiarch]
    for place in places:
        source = place / interpreter.library
        if source.is_file():
            yield _file(interpreter, source, f"lib/{interpreter.library}")
            short = re.sub(r"(\.so)\..*", r"\1", interpreter.library)
            if short != interpreter.library:
                yield Member(f"lib/{short}", symlink=interpreter.library)
            return
    raise UsageError(
        f"{interpreter.executable} needs {interpreter.library}",
        expected="it in " + " or ".join(map(str, places)),
        found="no such file",
    )


def _file(interpreter: Interpreter, source: Path, path: str) -> Member:
    data = source.read_bytes()
    executable = bool(source.stat().st_mode & 0o111)
    if data.startswith(b"\x7fELF"):
        data = _relocated(interpreter, _stripped(source, data), path)
    elif interpreter.prefix not in _SHARED_PREFIXES and b"\0" not in data:
        data = data.replace(interpreter.prefix.encode(), PLACEHOLDER.encode())
    return Member(path, data, executable=executable)


def _stripped(source: Path, data: bytes) -> bytes:
    """Return a binary without its debug symbols, as it is where no `strip` is installed."""
    tool = shutil.which("strip")
    if tool is None:
        return data
    with tempfile.NamedTemporaryFile(prefix="stripped-") as file:
        command = [tool, "--strip-unneeded", "-o", file.name, os.fspath(source)]
        result = subprocess.run(command, capture_output=True, check=False, timeout=_STRIP_SECONDS)
        return Path(file.name).read_bytes() if result.returncode == 0 else data


def _relocated(interpreter: Interpreter, data: bytes, path: str) -> bytes:
    """Overwrite the library path `PREFIX/lib` by one relative to the file; the string only gets shorter."""
    old = f"{interpreter.prefix}/lib\0".encode()
    new = b"$ORIGIN/" + os.path.relpath("lib", Path(path).parent).encode()
    if interpreter.prefix in _SHARED_PREFIXES or len(new) >= len(old):
        return data
    return data.replace(old, new + b"\0" * (len(old) - len(new)))
