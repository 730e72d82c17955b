"""What remains after linking: scripts that packages bring for it, and byte code. Blocking: call these in threads."""

from __future__ import annotations

import subprocess
from pathlib import Path

from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import parse_stem


def link_scripts(environment: ResolvedEnvironment, target: Path) -> list[tuple[str, Path]]:
    """Return (package, script relative to `target`) of the scripts to run after linking, in the document's order."""
    found = []
    for package in environment.packages:
        if package.kind == "conda":
            path = Path("bin") / f".{parse_stem('conda', package.filename).name}-post-link.sh"
            if (target / path).is_file():
                found.append((package.filename, path))
    return found


def compile_bytecode(target: Path, prefix: Path, site: str, timeout: float, cores: int) -> str | None:
    """Compile all Python files with the environment's own Python; the byte code names the final prefix.

    Args:
        target: Where the environment lies now.
        prefix: Where it will lie.
        site: Directory of the standard library, relative to the prefix, such as `lib/python3.11`.
        timeout: Seconds.
        cores: Processes at once.

    Returns:
        Why it could not be done, None when it was. Files that are no valid Python are passed over.
    """
    command = [str(target / "bin" / "python"), "-I", "-m", "compileall", "-q", "-j", str(cores)]
    version = tuple(int(part) for part in site.rpartition("python")[2].rstrip("t").split("."))
    command += ["-s", str(target), "-p", str(prefix)] if version >= (3, 9) else ["-d", str(prefix / site)]
    command += ["--invalidation-mode", "unchecked-hash", str(target / site)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)  # noqa: S603 - the environment's own interpreter
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"byte code was not made ({exc})"
    # 1: some files could not be compiled, which is usual for test data and templates
    return None if done.returncode in {0, 1} else f"byte code was not made ({done.stderr.strip()[-200:]})"
