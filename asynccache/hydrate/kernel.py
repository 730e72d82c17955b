"""Jupyter kernels for environments (contract, section 6.1.5). Blocking.

A kernel is a directory with `kernel.json` below `kernels` in the user's Jupyter data directory, as jupyter_client
documents it; writing it needs no Jupyter on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asynccache.errors import HydrationError
from asynccache.hydrate.prefix import read_marker
from asynccache.node.disk import disk_errors

_LOGOS: Final = ("logo-32x32.png", "logo-64x64.png", "logo-svg.svg")


def kernel_name(alias: str) -> str:
    """Return the name of the kernel of an environment.

    >>> kernel_name("team/env:v1.2")
    'mf_team_env_v1_2'
    """
    return "mf_" + re.sub(r"[:/.\-]", "_", alias)


def jupyter_data_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory in which the user's kernels are looked up."""
    if named := environ.get("JUPYTER_DATA_DIR"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "jupyter"


def install_kernel(prefix: Path, alias: str, *, directory: Path | None = None, pythonpath: Path | None = None) -> Path:
    """Write the kernel of an environment; one of the same name is replaced.

    Args:
        prefix: A complete environment that has ipykernel.
        alias: The user's name for it.
        directory: Jupyter's data directory; None for the user's.
        pythonpath: Directory that the kernel's Python finds modules in as well.

    Returns:
        The kernel's directory.

    Raises:
        HydrationError: The environment has no ipykernel.
        DiskError: The directory cannot be written.
    """
    found = next(iter(sorted(prefix.glob("lib/python3*/site-packages/ipykernel_launcher.py"))), None)
    if read_marker(prefix) is None or found is None:
        raise HydrationError(f"{prefix} has no ipykernel", hint="create it with --install-notebook")
    return write_kernel(
        kernel_name(alias),
        f"Metaflow {alias}",
        prefix / "bin" / "python",
        directory=directory,
        pythonpath=[pythonpath] if pythonpath else (),
        logos=found.parent / "ipykernel" / "resources",
    )


def write_kernel(
    name: str,
    display_name: str,
    python: Path,
    *,
    directory: Path | None = None,
    pythonpath: Sequence[Path] = (),
    logos: Path | None = None,
) -> Path:
    """Write a kernel; one of the same name is replaced as a whole.

    Args:
        name: Name of its directory.
        display_name: Name that the user sees.
        python: Interpreter that has ipykernel.
        directory: Jupyter's data directory; None for the user's.
        pythonpath: Directories that the kernel's Python finds modules in as well.
        logos: Directory with the pictures that Jupyter shows; missing ones are left out.

    Returns:
        The kernel's directory.

    Raises:
        DiskError: The directory cannot be written.
    """
    directory = directory or jupyter_data_directory(os.environ)
    document = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": display_name,
        "language": "python",
        "metadata": {"debugger": True},
        **({"env": {"PYTHONPATH": os.pathsep.join(map(str, pythonpath))}} if pythonpath else {}),
    }
    kernels = directory / "kernels"
    with disk_errors(kernels):
        kernels.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=kernels))
        try:
            building.chmod(0o755)
            (building / "kernel.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
            for picture in (logos / logo for logo in _LOGOS) if logos else ():
                if picture.is_file():
                    shutil.copyfile(picture, building / picture.name)
            shutil.rmtree(kernels / name, ignore_errors=True)
            building.rename(kernels / name)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return kernels / name
