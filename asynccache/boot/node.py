"""One environment on this node: found, created from its pack, or created from packages."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from typing import Any, Callable

from asynccache.boot.bundle import hydrate_from_packages, published_bundle
from asynccache.boot.digest import named_pack
from asynccache.boot.manifest import Manifest
from asynccache.boot.ranges import Root
from asynccache.boot.zstd import WHEELS_KEY, find_decompressor, use_wheel, wheel_tag
from asynccache.errors import HydrationError
from asynccache.node.building import Building, lock_path, use
from asynccache.node.environments import Triple, environment_name, environments_directory, find_complete
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.json_text import read_json
from asynccache.node.kernel_lock import Holder, LocksUnsupportedError, held
from asynccache.node.link_script import run_link_script
from asynccache.node.pack_format import Decompress
from asynccache.node.pack_reader import read_index, unpack
from asynccache.node.ranges import Ranges

_SCRIPT_TIMEOUT = 600.0  # seconds


class Receipt:
    """What creating an environment took.

    Attributes:
        prefix: Its path.
        source: `present`, `pack` or `packages`.
        bytes: Bytes received from the store.
        requests: Requests to the store.
        packages: Number of packages it was created from; 0 with a pack.
        package_bytes: Their size on disk.
        seconds: Total time.
        decoder: Which zstd was used; empty without a pack.
        notes: Notes for the user, one sentence each.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.source = "present"
        self.bytes = 0
        self.requests = 0
        self.packages = 0
        self.package_bytes = 0
        self.seconds = 0.0
        self.decoder = ""
        self.notes: list[str] = []

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""
        document = dict(vars(self))
        document["seconds"] = round(self.seconds, 3)
        return document

    def sentence(self) -> str:
        """Return a summary for logs."""
        store = "%.1f MB in %d requests" % (self.bytes / 1e6, self.requests)
        if self.source == "present":
            return "Environment was there" + (f": {store}" if self.requests else "")
        if self.source == "pack":
            return f"Environment made from its pack: {store}"
        packages = "%d, %.1f MB on disk" % (self.packages, self.package_bytes / 1e6)
        return f"Environment made from packages ({packages}); the engine and what names it: {store}"

    def count(self, ranges: Ranges) -> None:
        """Add what reading an object took."""
        self.bytes += ranges.received
        self.requests += ranges.requests


def make_environment(
    manifest: Manifest, env: Triple, say: Callable[[str], None], environments_dir: str | None = None
) -> Receipt:
    """Create an environment, or find it.

    Args:
        manifest: The manifest.
        env: (req_id, full_id, arch).
        say: Called with progress, a line each.
        environments_dir: Where environments are; None for the manifest's directory, or the user's cache.

    Raises:
        AsyncCacheError: It cannot be created.
    """
    started = time.monotonic()
    directory = environments_directory(environments_dir, manifest.environments_dir)
    receipt = Receipt(os.path.join(directory, environment_name(env[0], env[1], "step")))
    receipt.prefix = use(receipt.prefix, env) or _made(manifest, env, receipt, say)
    receipt.seconds = time.monotonic() - started
    return receipt


def _made(manifest: Manifest, env: Triple, receipt: Receipt, say: Callable[[str], None]) -> str:
    """Create an environment under its lock, or use the one that another process has just created; return its prefix."""
    root = Root(manifest.root, manifest.endpoint_url, manifest.client)
    prefix = receipt.prefix
    if not manifest.pins:
        say("warning: the manifest names no digests, so the content of the cache is trusted as it is")

    def waiting(holder: Holder, seconds: float) -> None:
        say(f"waiting for {holder}, which makes the same environment ({seconds:.0f} s)")

    with contextlib.ExitStack() as stack:
        exclusive = True
        try:
            stack.enter_context(held(lock_path(prefix), manifest.lock_timeout, f"the environment {prefix}", waiting))
        except LocksUnsupportedError as exc:
            exclusive = False
            say(f"warning: {exc.message}: what several tasks want at once is done by each of them")
        found = find_complete(prefix, env)
        if found is None and _from_pack(root, manifest, env, receipt, say, exclusive=exclusive):
            found = prefix
    if found is None:
        bundle = manifest.bundle(env[2]) or (None if manifest.pins else published_bundle(root, env[2], receipt.count))
        if bundle is None:
            lacking = f"the manifest names no bundle for {env[2]}" if manifest.pins else "no bundle is published"
            raise HydrationError(f"{receipt.notes[-1]}; and {lacking} to make it from packages")
        name = "{}:{}".format(*env[:2])
        named = manifest.digest(*env)
        made = hydrate_from_packages(
            root,
            bundle,
            env,
            prefix,
            say,
            receipt.count,
            packs=not manifest.pins,
            name=f"{name}@sha256:{named}" if named else name,
            derived=manifest.derived(*env),
        )
        receipt.packages, receipt.package_bytes = made["packages"], made["bytes"]
        receipt.bytes += made["fetched_bytes"]
        receipt.requests += made["store_requests"]
        receipt.source = "packages"
        found = find_complete(prefix, env)
        if found is None:
            raise HydrationError(f"the engine left no complete environment at {prefix}")
    return found


def _from_pack(
    root: Root, manifest: Manifest, env: Triple, receipt: Receipt, say: Callable[[str], None], *, exclusive: bool
) -> bool:
    """Create an environment from its pack; return whether that was possible."""
    prefix = receipt.prefix
    building = Building(prefix, env, among_environments=True, exclusive=exclusive)
    ranges: Ranges | None = None
    try:
        if not building.begin():
            return True
        key, digest, compared = manifest.pack(*env, lambda: named_pack(root, manifest, env))
        ranges = root.object(key)
        ranges.say = say
        receipt.decoder, decompress = _decoder(root, manifest, env[2], receipt, say)
        index = read_index(ranges, decompress, identity=env, digest=digest)
        say("Unpacking %d files, %.0f MB" % (len(index.files), index.raw_bytes / 1e6))
        unpack(
            ranges, index, decompress, building.path, prefix,
            check_files=bool(compared), bytecode=compared != "sources",
        )  # fmt: skip
        scripts = [
            functools.partial(run_link_script, prefix, str(filename), str(script), _SCRIPT_TIMEOUT)
            for filename, script in index.about.get("link_scripts", ())
        ]
        messages = building.complete(
            scripts,
            lock_timeout=manifest.lock_timeout,
            sync=manifest.sync,
            waiting=lambda seconds: say(f"waiting for another program that uses the directory ({seconds:.0f} s)"),
        )
    except PackUnusableError as exc:
        receipt.notes.append(str(exc))
        if not isinstance(exc, NoPackError):
            say(f"warning: {exc}")
        return False
    finally:
        building.close()
        if ranges is not None:
            receipt.count(ranges)
    if messages is not None:
        receipt.source = "pack"
        receipt.notes += [str(note) for note in index.about.get("notes", ())] + messages
    return True


def link_into(prefix: str, env: Triple, directory: str) -> None:
    """Write what the task's command reads: `_env_id`, `_env_path` and `__conda_python` (contract, section 9.2)."""
    with open(os.path.join(directory, "_env_id"), "w") as file:
        json.dump(list(env), file)
    with open(os.path.join(directory, "_env_path"), "w") as file:
        file.write(prefix)
    link = os.path.join(directory, "__conda_python")
    for _attempt in range(2):
        try:
            os.symlink(os.path.join(prefix, "bin", "python"), link)
        except FileExistsError:
            os.unlink(link)
        else:
            return


def _decoder(
    root: Root, manifest: Manifest, arch: str, receipt: Receipt, say: Callable[[str], None]
) -> tuple[str, Decompress]:
    found = find_decompressor()
    if found is not None:
        return found
    tag = wheel_tag(arch)
    said = manifest.decoder(tag) if manifest.pins else _listed_decoder(root, tag, receipt)
    if said is None:
        where = "the manifest names" if manifest.pins else "the cache"
        raise PackUnusableError(
            f"this image has no zstd decoder and {where} none for {tag};"
            " publish one with `asynccache installer zstd`, or install the package zstandard in the image"
        )
    say("Fetching a zstd decoder")
    wheel = root.object(str(said["key"]))
    try:
        return use_wheel(wheel.read(0, int(said["size"])), str(said["sha256"]))
    finally:
        receipt.count(wheel)


def _listed_decoder(root: Root, tag: str, receipt: Receipt) -> dict[str, Any] | None:
    """Return the entry of the cache's own list for a decoder."""
    listing = root.object(WHEELS_KEY)
    try:
        data, _size = listing.tail(1 << 20)
        said = read_json(data.decode("utf-8")).get(tag)
    except (NoPackError, ValueError, AttributeError):
        return None
    finally:
        receipt.count(listing)
    return said if isinstance(said, dict) else None
