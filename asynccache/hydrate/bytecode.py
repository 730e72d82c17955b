"""Byte code: the same bytes each time, valid wherever the files end up, never checked against their sources.

Python sets the real path of a source when it loads byte code, so the path in it does not matter. Blocking: call these
in threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_PARTS: Final = 4  # a fixed number of processes: byte code depends on what else a process compiles
_PROGRAM: Final = """
import os, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for path in sys.stdin.buffer.read().decode('utf-8', 'surrogateescape').split('\\0'):
    try:
        py_compile.compile(path, dfile=path, doraise=True, invalidation_mode=mode)
    except (py_compile.PyCompileError, ValueError, RecursionError, MemoryError):
        pass
"""


def python_version(tree: Path) -> str | None:
    """Return the major and minor version of the Python in an environment's directory; None if there is none."""
    found = sorted(p.name for p in (tree / "lib").glob("python3.*") if (p / "os.py").is_file())
    return found[0].removeprefix("python") if found else None


def compile_tree(tree: Path, version: str, native: bool, timeout: float, cores: int) -> str | None:
    """Compile the Python files below the standard library's directory that have no byte code from their package.

    Conda packages contain it for most of their files, and compiling is most of the cost of building a pack. Files that
    are not valid Python are left out.

    Args:
        tree: The environment.
        version: Version of its Python, such as `3.11`.
        native: Whether its own Python runs on this machine; otherwise one of the same version is looked for.
        timeout: Seconds.
        cores: Processes at once.

    Returns:
        Why it was not done; None if it was.
    """
    python = str(tree / "bin" / "python") if native else _same(version)
    if python is None:
        return f"byte code was left out: no Python {version} is on this machine to make it for another architecture"
    ending = f".cpython-{version.replace('.', '')}.pyc"
    files = sorted(
        str(p.relative_to(tree))
        for p in (tree / "lib" / f"python{version}").rglob("*.py")
        if p.is_file() and not is_byte_code_of(p.parent / "__pycache__" / f"{p.stem}{ending}", p)
    )
    parts = [files[i::_PARTS] for i in range(_PARTS)]
    environ = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(part: list[str]) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603 - an interpreter that was chosen above
                [python, "-S", "-B", "-c", _PROGRAM],
                input="\0".join(part).encode("utf-8", "surrogateescape"),
                cwd=tree,
                env=environ,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return str(exc)
        return done.stderr.decode(errors="replace").strip()[-200:] or "it failed" if done.returncode else None

    with ThreadPoolExecutor(max(1, min(cores, _PARTS))) as pool:
        reasons = [reason for reason in pool.map(run, [part for part in parts if part]) if reason]
    return f"byte code was not made ({reasons[0]})" if reasons else None


def is_byte_code_of(path: Path, source: Path) -> bool:
    """Return whether a file is byte code with its source's time and size, and the source still has them.

    Its first 16 bytes are Python's number of the format, flags (0: checked by time), time and size of the source
    (PEP 552).
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
        about = source.stat()
    except FileNotFoundError:
        return False
    recorded = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
    return (
        len(head) == 16
        and head[4:8] == b"\0\0\0\0"
        and recorded == (int(about.st_mtime) & 0xFFFFFFFF, about.st_size & 0xFFFFFFFF)
    )


def _same(version: str) -> str | None:
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        return sys.executable
    return shutil.which(f"python{version}")
