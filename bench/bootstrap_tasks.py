"""What is made ready for the bootstrap cases: a pack and the engine's bundle in the store, manifests, a bare Python."""

from __future__ import annotations

import json
from pathlib import Path

from asynccache.api import Session
from asynccache.config import Settings
from bench.hydrate_tasks import archive_of_pack
from bench.task import Figures


async def publish(settings: Settings, document: str, out: str) -> Figures:
    """Publish the environment's packages, its pack and the bundle; write what a node needs to know into a directory."""
    from tests.support.metaflow_venv import bare_venv  # noqa: PLC0415 - makes one at first

    directory = Path(out)
    async with Session(settings) as session:
        warmed = await session.warm(document, to="remote", pack=False)
        warmed.raise_for_failures()
        environment = warmed.environments[0]
        (packed,) = await session.pack(environment)
        bundle = await session.publish_engine()
    await archive_of_pack(settings, document, directory / "packed.tar.zst")
    root = {"version": 1, "root": str(settings.store), "endpoint_url": settings.s3_endpoint_url}
    key = f"{environment.id.req_id}:{environment.id.full_id}:{environment.id.arch}"
    told = {**root, "bundles": {environment.id.arch: bundle.as_document()}}
    here = {"key": packed.key, "size": packed.size, "digest": packed.digest}
    (directory / "packed.json").write_text(json.dumps({**told, "packs": {key: here}}))
    (directory / "packages.json").write_text(json.dumps({**told, "packs": {key: {"key": "nowhere"}}}))
    said = {"python": str(bare_venv("3.11") / "bin" / "python"), "ids": key.rpartition(":")[0]}
    (directory / "node.json").write_text(json.dumps(said))
    return {"pack": packed.size, "bundle": bundle.size}
