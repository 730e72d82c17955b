"""What nodes need to know of a flow's environments; packs are made for remote nodes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from asynccache.metaflow.wording import in_metaflows_words
from asynccache.node.aws_client import tries_of
from asynccache.node.store_kinds import KINDS

if TYPE_CHECKING:
    from asynccache.api import NodeSupplies, ResolvedEnvironment
    from asynccache.config import Settings

_INDENT = "    "


async def node_manifest(
    settings: Settings,
    by_step: Mapping[str, ResolvedEnvironment],
    *,
    looking: Collection[str] = (),
    echo: Any = None,
) -> dict[str, object]:
    """Return the manifest of the steps that run elsewhere (format: `asynccache.boot.manifest`).

    Args:
        settings: All settings.
        by_step: Step -> environment.
        looking: Architectures of steps whose environment is looked up on the node.
        echo: Metaflow's function that prints.

    Raises:
        AsyncCacheError: Nodes would have neither packs nor an engine.
    """
    from asynccache.api import Session  # noqa: PLC0415 - where flows are launched

    document: dict[str, object] = {
        "version": 1,
        "root": str(settings.root),
        "endpoint_url": (settings.root.endpoint or "").partition("?")[0] or None,  # signatures stay here
        **_client(settings),
        "envs_dirname": settings.envs_dirname,
        "lock_timeout": settings.lock_timeout,
        "steps": {step: [each.id.req_id, each.id.full_id] for step, each in by_step.items()},
    }
    if not by_step and not looking:
        return document
    async with Session(settings) as session:
        supplies = await session.supply_nodes(*by_step.values(), arches=looking)
    for line in _messages(supplies) if echo is not None else ():
        echo(_INDENT + in_metaflows_words(line))
    return {**document, **supplies.as_document()}


def _client(settings: Settings) -> dict[str, object]:
    """Return what settings say of the clients of the root's kind."""
    kind = KINDS.get(settings.root.kind)
    if kind is None:
        return {}
    tries = tries_of(getattr(settings, kind.retries)) if kind.retries else None
    said = {"provider": settings.provider_of(kind), "tries": tries}
    return {kind.name: {name: value for name, value in said.items() if value is not None}}


def _messages(supplies: NodeSupplies) -> Iterator[str]:
    for key in supplies.foreign:
        yield (
            f"The setting remote_installer names {key}, which is no bundle of asynccache that is known to be good:"
            " it is not used. `asynccache installer publish` puts one there; node_digests names those of others."
        )
    for env_id, error in supplies.unpacked.items():
        yield f"{env_id} cannot be packed, so nodes make it from packages: {error}"
    made = [packed for packed in supplies.packs if packed.created]
    for packed in made:
        yield from packed.notes[:3]
    if made:
        count = f"{len(made)} environment{'s' if len(made) > 1 else ''}"
        yield f"Packing {count} for nodes ... done in {round(supplies.seconds)} seconds."
    if supplies.no_engine is not None:
        yield f"Nodes could not make environments from packages if a pack were damaged: {supplies.no_engine}"


def as_json(document: Mapping[str, object]) -> str:
    """Return a manifest's text, the same for the same content."""
    return json.dumps(document, sort_keys=True)
