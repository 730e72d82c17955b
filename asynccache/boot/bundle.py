"""The bundle: a relocatable Python with the engine in it, for nodes that have to link packages themselves."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from typing import Any, Callable, Sequence

from asynccache.boot.ranges import Root
from asynccache.errors import HydrationError
from asynccache.node.disk import disk_error
from asynccache.node.errors import NoPackError
from asynccache.node.json_text import read_json
from asynccache.node.ranges import Ranges

BUNDLES = "asynccache/bundles"
"""Directory below the cache's root: `ARCH.json` holds `key`, `size` and `sha256` of the bundle of an architecture."""
_MOST_DERIVED = 900  # a variable holds 128 KiB on Linux; packages beyond that are used as published


def published_bundle(root: Root, arch: str, count: Callable[[Ranges], None]) -> dict[str, Any] | None:
    """Return `key`, `size` and `sha256` of the bundle that the cache has for an architecture, None without one.

    Args:
        root: The cache's root.
        arch: conda platform.
        count: Called with what was read.
    """
    listing = root.object(f"{BUNDLES}/{arch}.json")
    try:
        data, _size = listing.tail(64 << 10)
        found = read_json(data.decode("utf-8"))
    except (NoPackError, ValueError):
        return None
    finally:
        count(listing)
    return found if isinstance(found, dict) else None


def hydrate_from_packages(
    root: Root,
    bundle: dict[str, Any],
    env: tuple[str, str, str],
    prefix: str,
    say: Callable[[str], None],
    count: Callable[[Ranges], None],
    *,
    packs: bool,
    name: str,
    derived: Sequence[str] = (),
) -> dict[str, int]:
    """Let the bundle's engine create a prefix; the caller holds no lock on it.

    Args:
        root: The cache's root.
        bundle: `key` and `sha256` of the bundle.
        env: (req_id, full_id, arch).
        prefix: Its path.
        say: Called with progress.
        count: Called with what was read of the bundle.
        packs: Whether the engine may use a pack that is in the store, whatever is in it.
        name: Name of the environment, with its digest if it has one.
        derived: Which derived archives of packages it may use.

    Returns:
        `packages`, their number; `bytes`, their size on disk; `fetched_bytes` and `store_requests`, the package bytes
        and store requests of the engine. 0 if the engine does not report them.

    Raises:
        HydrationError: The bundle is damaged or the engine failed; its own message is in the log.
    """
    home = _installed(root, bundle, os.path.join(os.path.dirname(os.path.dirname(prefix)), "bundles"), say, count)
    command = [
        os.path.join(home, "bin", "python3"), "-I", "-m", "asynccache_cli", "create", name,
        "--arch", env[2], "--prefix", prefix, "--store", root.address, "--quiet", "--json",
    ]  # fmt: skip
    environ = dict(os.environ)
    for variable in ("PYTHONPATH", "PYTHONHOME"):
        environ.pop(variable, None)
    environ.update(root.variables())
    if not packs:
        environ["ASYNCCACHE_PACK"] = "never"
    if derived:
        environ["ASYNCCACHE_DERIVED_DIGESTS"] = ",".join(derived[:_MOST_DERIVED])
    environ["ASYNCCACHE_ENVIRONMENTS_DIR"] = os.path.dirname(prefix)
    environ["LD_LIBRARY_PATH"] = os.path.join(home, "lib")  # of a Python with a shared library
    say("Making the environment from packages")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environ, check=False)  # noqa: S603 - the bundle's own interpreter
    if done.returncode:
        raise HydrationError(
            "the environment cannot be made from packages: the engine ended with code %d" % done.returncode
        )
    names = ("packages", "bytes", "fetched_bytes", "store_requests")
    try:
        said = read_json(done.stdout.decode("utf-8"))
        return {name: int(said.get(name, 0)) for name in names}
    except (ValueError, TypeError, AttributeError):
        return dict.fromkeys(names, 0)  # a bundle of an earlier version


def _installed(
    root: Root, bundle: dict[str, Any], directory: str, say: Callable[[str], None], count: Callable[[Ranges], None]
) -> str:
    """Return the directory into which a bundle is unpacked, once."""
    sha256 = str(bundle["sha256"])
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise HydrationError(f"the engine's bundle has no sha256: found {sha256[:80]!r}")
    home = os.path.join(directory, sha256[:32])
    if os.path.isdir(home):
        return home
    say("Fetching the engine")
    ranges = root.object(str(bundle["key"]))
    ranges.say = say
    try:
        os.makedirs(directory, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".bundle-", dir=directory)
    except OSError as exc:
        raise disk_error(directory, exc) from exc
    try:
        archive, digest = os.path.join(scratch, "bundle.tar.gz"), hashlib.sha256()
        with open(archive, "wb") as file:
            for piece in ranges.stream(0, int(bundle["size"])):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            raise HydrationError(
                f"the engine's bundle is damaged: expected sha256 {sha256}, found {digest.hexdigest()};"
                " publish it again with `asynccache installer publish`"
            )
        content = os.path.join(scratch, "content")
        with tarfile.open(archive, "r:gz") as tar:
            if hasattr(tarfile, "tar_filter"):
                tar.extractall(content, filter="tar")
            else:
                tar.extractall(content)  # noqa: S202 - its digest was compared
        try:
            os.rename(content, home)
        except OSError:
            if not os.path.isdir(home):
                raise
    except OSError as exc:
        raise disk_error(directory, exc) from exc
    finally:
        count(ranges)
        shutil.rmtree(scratch, ignore_errors=True)
    return home
