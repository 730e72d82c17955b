"""One environment on this node: found, made from its pack, or made from packages."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable

from asynccache.boot.bundle import hydrate_from_packages, published_bundle
from asynccache.boot.errors import BootError, NoPackError, PackUnusableError
from asynccache.boot.format import Index
from asynccache.boot.manifest import Manifest
from asynccache.boot.prefix import Building, environments_directory, locked, read_marker
from asynccache.boot.ranges import Ranges, Root
from asynccache.boot.scripts import run_link_script
from asynccache.boot.unpack import read_index, unpack
from asynccache.boot.zstd import WHEELS_KEY, Decompress, find_decompressor, use_wheel, wheel_tag


class Receipt:
    """What making an environment took.

    Attributes:
        prefix: Where it is.
        source: `present`, `pack` or `packages`.
        bytes: Received from the store.
        requests: To the store.
        seconds: In all.
        decoder: Which zstd was used; empty without a pack.
        notes: What the user should know, a sentence each.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.source = "present"
        self.bytes = 0
        self.requests = 0
        self.seconds = 0.0
        self.decoder = ""
        self.notes: list[str] = []

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""
        document = dict(vars(self))
        document["seconds"] = round(self.seconds, 3)
        return document

    def count(self, ranges: Ranges) -> None:
        """Add what reading an object took."""
        self.bytes += ranges.received
        self.requests += ranges.requests


def make_environment(
    manifest: Manifest, env: tuple[str, str, str], say: Callable[[str], None], environments_dir: str | None = None
) -> Receipt:
    """Make an environment, or find it.

    Args:
        manifest: What the submitting side said.
        env: (req_id, full_id, arch).
        say: Told of progress, a line each.
        environments_dir: Where environments lie; as the manifest says, or the user's cache, when None.

    Raises:
        BootError: It cannot be made.
    """
    started = time.monotonic()
    directory = environments_directory(environments_dir or manifest.environments_dir)
    prefix = os.path.join(directory, "metaflow_{}_{}".format(*env[:2]))
    receipt = Receipt(prefix)
    if read_marker(prefix) != env:
        root = Root(manifest.root, manifest.endpoint_url)
        with locked(prefix, manifest.lock_timeout, say):
            done = read_marker(prefix) == env or _from_pack(root, manifest, env, prefix, receipt, say)
        if not done:
            bundle = manifest.bundle(env[2]) or published_bundle(root, env[2])
            if bundle is None:
                raise BootError(f"{receipt.notes[-1]}; and no bundle is published to make it from packages")
            hydrate_from_packages(root, bundle, env, prefix, say)
            receipt.source = "packages"
            if read_marker(prefix) != env:
                raise BootError(f"the engine left no complete environment at {prefix}")
    receipt.seconds = time.monotonic() - started
    return receipt


def _from_pack(
    root: Root,
    manifest: Manifest,
    env: tuple[str, str, str],
    prefix: str,
    receipt: Receipt,
    say: Callable[[str], None],
) -> bool:
    key, digest = manifest.pack(*env)
    ranges = root.object(key)
    ranges.say = say
    building = Building(prefix)
    try:
        receipt.decoder, decompress = _decoder(root, env[2], receipt, say)
        index = read_index(ranges, decompress, identity=env, digest=digest)
        say("Unpacking %d files, %.0f MB" % (len(index.files), index.raw_bytes / 1e6))
        unpack(ranges, index, decompress, building.path, prefix)
        _finish(building, index, env, sync=manifest.sync)
    except PackUnusableError as exc:
        receipt.notes.append(str(exc))
        if not isinstance(exc, NoPackError):
            say(f"warning: {exc}")
        return False
    finally:
        building.close()
        receipt.count(ranges)
    receipt.source = "pack"
    receipt.notes += [str(note) for note in index.about.get("notes", ())]
    return True


def _finish(building: Building, index: Index, env: tuple[str, str, str], *, sync: bool) -> None:
    building.place()
    for filename, script in index.about.get("link_scripts", ()):
        run_link_script(building.prefix, str(filename), str(script))
    building.finish(env, sync=sync)


def _decoder(root: Root, arch: str, receipt: Receipt, say: Callable[[str], None]) -> tuple[str, Decompress]:
    found = find_decompressor()
    if found is not None:
        return found
    say("Fetching a zstd decoder")
    listing = root.object(WHEELS_KEY)
    try:
        data, _size = listing.tail(1 << 20)
        said = json.loads(data.decode("utf-8")).get(wheel_tag(arch))
    except (NoPackError, ValueError, AttributeError):
        said = None
    finally:
        receipt.count(listing)
    if not isinstance(said, dict):
        raise PackUnusableError(
            f"this image has no zstd decoder and the cache none for {wheel_tag(arch)};"
            " publish one with `asynccache installer zstd`, or install the package zstandard in the image"
        )
    wheel = root.object(str(said["key"]))
    try:
        return use_wheel(wheel.read(0, int(said["size"])), str(said["sha256"]))
    finally:
        receipt.count(wheel)
