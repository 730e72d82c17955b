"""Programs of others that cases measure beside ours, where this machine has them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bench.harness import ContenderError


def peer(name: str) -> str | None:
    """Return the path of a program, None if it is not here.

    `ASYNCCACHE_PEER_NAME` names it, such as `ASYNCCACHE_PEER_MICROMAMBA`; else it is looked for on PATH, and beside the
    interpreter, where uv is installed with the benchmarks.

    Raises:
        ContenderError: The variable names nothing that can be run.
    """
    variable = f"ASYNCCACHE_PEER_{name.upper().replace('-', '_')}"
    named = os.environ.get(variable)
    if named:
        found = shutil.which(named)
        if found is None:
            raise ContenderError(f"{variable} names {named}, which is no program that can be run")
        return found
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
