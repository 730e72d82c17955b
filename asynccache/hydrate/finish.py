"""What remains after linking: scripts that packages bring for it, and byte code. Blocking: call these in threads."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from asynccache.errors import HydrationError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import parse_stem

MESSAGES: Final = ".messages.txt"  # what scripts tell the user, as conda's own
_TELL: Final = 2000  # characters of a failed script's output


def link_scripts(environment: ResolvedEnvironment, target: Path) -> list[tuple[str, Path]]:
    """Return (package, script relative to `target`) of the scripts to run after linking, in the document's order."""
    found = []
    for package in environment.packages:
        if package.kind == "conda":
            path = Path("bin") / f".{parse_stem('conda', package.filename).name}-post-link.sh"
            if (target / path).is_file():
                found.append((package.filename, path))
    return found


def run_link_script(prefix: Path, filename: str, script: Path, timeout: float) -> str:
    """Run one script as conda does; return what it told the user.

    Args:
        prefix: The environment at its final place.
        filename: The package's, without extension.
        script: Relative to `prefix`.
        timeout: Seconds.

    Raises:
        HydrationError: It failed; with the end of its output.
    """
    name = parse_stem("conda", filename)
    environ = {
        **os.environ,
        "PREFIX": str(prefix),
        "CONDA_PREFIX": str(prefix),
        "PKG_NAME": name.name,
        "PKG_VERSION": name.version,
        "PKG_BUILDNUM": name.build.rpartition("_")[2],
        "PATH": f"{prefix}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    messages = prefix / MESSAGES
    try:
        done = subprocess.run(  # noqa: S603 - the package's own script, which the settings allow
            ["/bin/bash", str(prefix / script)],
            cwd=prefix,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HydrationError(
            f"the script {script} of {filename} did not end within {timeout:g} seconds",
            hint="set link_scripts to false to do without",
        ) from None
    except OSError as exc:
        raise HydrationError(f"the script {script} of {filename} cannot be run ({exc.strerror})") from exc
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-_TELL:]
        raise HydrationError(
            f"the script {script} of {filename} failed",
            expected="exit code 0",
            found=f"{done.returncode}: {said}" if said else done.returncode,
            hint="set link_scripts to false to do without",
        )
    text = messages.read_text("utf-8", "replace") if messages.is_file() else ""
    messages.unlink(missing_ok=True)
    return text.strip()


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
