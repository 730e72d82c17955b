"""Looking at a local store from outside, as a test of what the engine left there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def archives_in(root: Path) -> list[Path]:
    """Return every file below the packages directory of a local store, in order."""
    packages = root / "packages"
    return sorted(p for p in packages.rglob("*") if p.is_file()) if packages.is_dir() else []


def damaged_in(root: Path) -> list[str]:
    """Return the archives whose bytes are not what their hash directory says."""
    wrong = []
    for path in archives_in(root):
        algorithm = "md5" if len(path.parent.name) == 32 else "sha256"
        if hashlib.new(algorithm, path.read_bytes()).hexdigest() != path.parent.name:
            wrong.append(str(path.relative_to(root)))
    return wrong


def receipts_in(root: Path) -> dict[str, dict[str, object]]:
    """Return the receipts of a local store by their file's relative path."""
    directory = root / "asynccache" / "receipts"
    return {str(p.relative_to(directory)): json.loads(p.read_bytes()) for p in sorted(directory.rglob("*.json"))}


def leftovers_in(root: Path) -> list[str]:
    """Return files of a local store that are neither archives nor receipts."""
    known = {root / "packages", root / "asynccache"}
    return [
        str(p.relative_to(root))
        for p in sorted(root.rglob("*"))
        if p.is_file() and not any(p.is_relative_to(k) for k in known)
    ]
