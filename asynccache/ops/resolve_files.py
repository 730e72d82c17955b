"""Resolving what files and options ask for: reading all of it, then resolving all that could be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.errors import AsyncCacheError
from asynccache.ops.environments import Environments
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_inputs import Inputs, wanted_of
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.ops.resolve_result import Resolved, Row
from asynccache.resolve.assemble import Machine
from asynccache.runtime.tasks import run_works

if TYPE_CHECKING:
    from asynccache.ops.resolve_solve import ChooseResolver


async def resolve_files(
    settings: Settings,
    inputs: Sequence[Inputs],
    *,
    options: ResolveOptions | None = None,
    choose: ChooseResolver | None = None,
    emit: events.EventSink = events.ignore,
    say: Callable[[str], None] | None = None,
    machine: Machine | None = None,
) -> Resolved:
    """Resolve environments that are asked for by files and options, all at once.

    Args:
        settings: All settings.
        inputs: One for each environment.
        options: How.
        choose: Who resolves an environment of a type; None: as the settings say.
        emit: Where events go (see `resolve`).
        say: Told in a sentence when a damaged list of environments was set aside.
        machine: What of this machine enters requests; found out when None.

    Returns:
        One row for each environment and architecture, and one for each environment whose input is wrong.

    Raises:
        UsageError: The environments contradict each other, or the options.
    """
    options = options or ResolveOptions()
    machine = machine or Machine()
    async with AsyncExitStack() as stack:
        catalog = Environments(settings, None, say)
        if not options.local_only and any(i.using or i.source for i in inputs):
            from asynccache.store.open import open_store, store_options  # noqa: PLC0415 - most need no other store

            store = await stack.enter_async_context(open_store(settings.root, store_options(settings)))
            catalog = Environments(settings, store, say)

        read_ones = await run_works(inputs, lambda each: wanted_of(each, settings, catalog, machine=machine))
    wanted = [each for each in read_ones if isinstance(each, Wanted)]
    resolved = await resolve(settings, wanted, options=options, choose=choose, emit=emit, say=say)
    rows = iter(resolved.rows)
    in_order: list[Row] = []
    for each, outcome in zip(inputs, read_ones, strict=True):
        if isinstance(outcome, Wanted):
            in_order += [next(rows) for _arch in outcome.asked]
        else:
            in_order.append(_unread(each, outcome))
    resolved.rows = in_order
    return resolved


def _unread(inputs: Inputs, error: AsyncCacheError) -> Row:
    name = inputs.name or next((file.path for file in inputs.files), None) or inputs.using or inputs.source or "input"
    return Row(name, ", ".join(inputs.arches), "", errors={"": error})
