"""What the digest of an environment stands for, read on a bare node (format: `asynccache.model.environment_digest`)."""

from __future__ import annotations

import hashlib

from asynccache.boot.manifest import Manifest
from asynccache.boot.ranges import Root
from asynccache.errors import HydrationError
from asynccache.node.environments import Triple
from asynccache.node.errors import NoPackError

_LARGEST = 16 << 20  # bytes: 100,000 packages


def named_pack(root: Root, manifest: Manifest, env: Triple) -> str:
    """Return the digest of the pack that the environment's digest stands for, empty if it stands for none.

    Args:
        root: The cache's root.
        manifest: Names the digest of the environment, or the common one of all its architectures.
        env: (req_id, full_id, arch).

    Raises:
        HydrationError: The store lacks what the digest stands for, or has something else.
    """
    lines = _lines(root, manifest, env, manifest.digest(*env))
    if lines[0] == "asynccache environments 1":
        own = dict(line.split(" ", 1) for line in lines[1:]).get(env[2], "")
        lines = _lines(root, manifest, env, own)
    if lines[1:2] != ["environment {} {} {}".format(*env)]:
        raise HydrationError(f"the digest of {env[0]}:{env[1]} for {env[2]} is that of another environment")
    last = lines[-1].split(" ")
    return last[1] if last[0] == "pack" and len(last) == 2 else ""


def _lines(root: Root, manifest: Manifest, env: Triple, digest: str) -> list[str]:
    name = f"{env[0]}:{env[1]}@sha256:{digest}"
    try:
        data, _size = root.object(manifest.digest_key(*env, digest)).tail(_LARGEST)
    except NoPackError:
        raise HydrationError(f"the environment for {env[2]} never had the digest that is named: {name}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise HydrationError(f"what lies in the cache for {name} has the sha256 {found}")
    return data.decode("ascii").splitlines()
