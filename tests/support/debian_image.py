"""A bare Debian for containers that tests run: what is in it, and nothing of this machine.

It is unpacked once by debootstrap below `.cache` (some 370 MB, under a minute) and used as the lower layer of an
overlay, so that no container changes it. It holds bash, tar, gzip, `python`, and either the clients that Metaflow would
install for S3 or the pip that it installs others with. It has no resolver configuration: host names lead nowhere, only
addresses such as 127.0.0.1 do.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.shared import making
from tests.support.testdata import REPOSITORY

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python-is-python3")
CLIENTS = ("python3-boto3", "python3-requests")
_CACHE = REPOSITORY / ".cache" / f"debian-{SUITE}"
_SECONDS = 600


@functools.cache
def debian_image(*, with_pip: bool = False) -> Path | None:
    """Return the directory of a Debian, making it when it is not there; None if it cannot be made or used.

    It needs Linux, root (or what gives leave to mount and to change the root), and Debian's archive within reach.
    """
    if sys.platform != "linux" or os.getuid() or not _may_mount():
        return None
    place = _CACHE.with_name(f"{_CACHE.name}-pip") if with_pip else _CACHE
    with making(place.with_suffix(".lock")):
        if place.exists():
            return place
        with tempfile.TemporaryDirectory(dir=place.parent, prefix="debian-") as scratch:
            built = _bootstrap(Path(scratch), (*PACKAGES, *(("python3-pip",) if with_pip else CLIENTS)))
            if built is not None:
                built.rename(place)
                return place
    return None


def _may_mount() -> bool:
    """Return whether an overlay can be mounted here: not so inside most containers."""
    with tempfile.TemporaryDirectory(prefix="asynccache-overlay-") as name:
        mounts = "mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m && mkdir m/p && mount -t proc p m/p"
        script = f"cd $0 && mkdir l u w m && {mounts}"
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script, name]
        try:
            return not subprocess.run(command, capture_output=True, check=False, timeout=30).returncode
        except (OSError, subprocess.TimeoutExpired):
            return False


def _bootstrap(scratch: Path, packages: tuple[str, ...]) -> Path | None:
    environment = dict(os.environ)
    program = shutil.which("debootstrap")
    if program is None:
        program = _fetched_program(scratch)
        if program is None:
            return None
        environment["DEBOOTSTRAP_DIR"] = str(Path(program).parents[1] / "share" / "debootstrap")
    root = scratch / "root"
    command = [
        program, "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(root), "http://deb.debian.org/debian"
    ]  # fmt: skip
    done = _run(command, scratch, environment)
    if done is None or done.returncode:
        return None
    shutil.rmtree(root / "var" / "cache" / "apt", ignore_errors=True)
    (root / "etc" / "resolv.conf").unlink(missing_ok=True)
    return root


def _fetched_program(scratch: Path) -> str | None:
    """Take debootstrap from its package without installing it."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    done = _run(["apt-get", "download", "debootstrap"], scratch, dict(os.environ))
    archives = list(scratch.glob("debootstrap_*.deb"))
    if done is None or done.returncode or not archives:
        return None
    unpacked = scratch / "debootstrap"
    _run(["dpkg-deb", "-x", str(archives[0]), str(unpacked)], scratch, dict(os.environ))
    program = unpacked / "usr" / "sbin" / "debootstrap"
    return str(program) if program.exists() else None


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
