"""Find the Python interpreters of this machine."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
_QUESTION = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
_SECONDS = 20


@functools.cache
def find_interpreter(version: str) -> Path | None:
    """Return an interpreter of a version such as "3.9" that starts, None if there is none.

    Looked for: this process's own, PATH, and pyenv's directory of the user who runs the tests.
    """
    if "{}.{}".format(*sys.version_info) == version:
        return Path(sys.base_prefix) / "bin" / f"python{version}"
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions"
    found = [*sorted(pyenv.glob(f"{version}.*/bin/python{version}")), shutil.which(f"python{version}")]
    return next((Path(each) for each in found if each is not None and _is(Path(each), version)), None)


def interpreters() -> dict[str, Path]:
    """Return all that are found, by version, oldest first."""
    found = {version: find_interpreter(version) for version in VERSIONS}
    return {version: path for version, path in found.items() if path is not None}


def _is(path: Path, version: str) -> bool:
    try:
        done = subprocess.run([str(path), "-c", _QUESTION], capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.decode() == version
