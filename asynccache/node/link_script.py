"""Post-link scripts of conda packages, run as conda runs them: in the activated environment."""

from __future__ import annotations

import os
import shlex
import subprocess

from asynccache.errors import HydrationError
from asynccache.node.activation import activated, activation_scripts, reading

_MESSAGES = ".messages.txt"  # messages of scripts for the user, as with conda
_SHOWN_CHARACTERS = 2000  # characters of a failed script's output


def run_link_script(prefix: str, filename: str, script: str, timeout: float, hint: str | None = None) -> str:
    """Run one script; return its message for the user.

    Args:
        prefix: The environment at its final path.
        filename: File name of the package, without extension: name, version and build.
        script: Path relative to the prefix.
        timeout: Seconds.
        hint: How to avoid it, for messages.

    Raises:
        HydrationError: It failed; the error has its message and the end of its output.
    """
    name, version, build = filename.rsplit("-", 2)
    environ = activated(prefix, os.path.basename(prefix), os.environ)
    environ.update(PREFIX=prefix, PKG_NAME=name, PKG_VERSION=version, PKG_BUILDNUM=build.rpartition("_")[2])
    shell = "/bin/bash"
    commands = f"{reading(activation_scripts(prefix))}exec {shell} {shlex.quote(os.path.join(prefix, script))}"
    try:
        done = subprocess.run(  # noqa: S603 - a script of a package of the environment
            [shell, "-c", commands],
            cwd=prefix,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HydrationError(
            f"the script {script} of {filename} did not end within {timeout:g} seconds", hint=hint
        ) from None
    except OSError as exc:
        raise HydrationError(f"the script {script} of {filename} cannot be run ({exc.strerror})", hint=hint) from exc
    said_to_user = _messages(prefix)
    if done.returncode:
        said = f"{said_to_user}\n{done.stdout.decode('utf-8', 'replace').strip()}".strip()[-_SHOWN_CHARACTERS:]
        raise HydrationError(
            f"the script {script} of {filename} failed",
            expected="exit code 0",
            found=f"{done.returncode}: {said}" if said else done.returncode,
            hint=hint,
        )
    return said_to_user


def _messages(prefix: str) -> str:
    """Return the messages that scripts left for the user, and remove them."""
    messages = os.path.join(prefix, _MESSAGES)
    if not os.path.isfile(messages):
        return ""
    with open(messages, encoding="utf-8", errors="replace") as file:
        text = file.read()
    os.unlink(messages)
    return text.strip()
