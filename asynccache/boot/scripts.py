"""The scripts that conda packages bring for after linking, run as conda runs them."""

from __future__ import annotations

import os
import subprocess

from asynccache.boot.errors import BootError


def run_link_script(prefix: str, filename: str, script: str, timeout: float = 600.0) -> None:
    """Run one script.

    Args:
        prefix: The environment at its final place.
        filename: Of the package, without extension: name, version and build.
        script: Relative to the prefix.
        timeout: Seconds.

    Raises:
        BootError: It failed; with the end of its output.
    """
    name, version, build = filename.rsplit("-", 2)
    environ = dict(os.environ)
    environ.update(
        PREFIX=prefix,
        CONDA_PREFIX=prefix,
        PKG_NAME=name,
        PKG_VERSION=version,
        PKG_BUILDNUM=build.rpartition("_")[2],
        PATH=prefix + "/bin" + os.pathsep + os.environ.get("PATH", os.defpath),
    )
    try:
        done = subprocess.run(  # noqa: S603 - of a package of the environment
            ["/bin/bash", os.path.join(prefix, script)],
            cwd=prefix,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BootError(f"the script {script} of {filename} cannot be run ({exc})") from exc
    messages = os.path.join(prefix, ".messages.txt")
    if os.path.exists(messages):
        os.unlink(messages)
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()[-500:]
        raise BootError("the script %s of %s failed with exit code %d: %s" % (script, filename, done.returncode, said))
