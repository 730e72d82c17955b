"""Resolving what files, options and steps ask for: reading all of it, then resolving all that could be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from asynccache.engine import events
from asynccache.errors import AsyncCacheError
from asynccache.ops.opening import Opening
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_inputs import Inputs, wanted_of
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.ops.resolve_result import Resolved, Row
from asynccache.ops.resolve_steps import StepInputs, wanted_of_step
from asynccache.resolve.conda.configured_channels import configured_channels
from asynccache.resolve.requests.assemble import Machine
from asynccache.runtime.tasks import run_works

if TYPE_CHECKING:
    from asynccache.ops.resolve_solve import ChooseResolver

Asked = Inputs | StepInputs | Wanted


async def read_inputs(
    opening: Opening, inputs: Sequence[Asked], *, local_only: bool = False, machine: Machine | None = None
) -> list[Wanted | AsyncCacheError]:
    """Return what is asked for, or why that is wrong, in order.

    Args:
        opening: Its catalog is asked for environments that are named; a store is opened only for that.
        inputs: One for each environment; what was read already stays as it is.
        local_only: Look for environments on this machine only.
        machine: What of this machine enters requests; found out when None.
    """
    known_machine = machine or await _machine(opening, inputs)
    naming = any(_names(each) for each in inputs)
    catalog = await opening.catalog(writing=True) if naming and not local_only else opening.local

    async def read(each: Asked) -> Wanted:
        if isinstance(each, Wanted):
            return each
        if isinstance(each, StepInputs):
            return await wanted_of_step(each, opening.settings, catalog, known_machine)
        return await wanted_of(each, opening.settings, catalog, machine=known_machine)

    return await run_works(inputs, read)


async def _machine(opening: Opening, inputs: Sequence[Asked]) -> Machine:
    """Return what of this machine enters requests, with the channels of its conda program if somebody has to know."""
    if all(isinstance(each, Wanted) for each in inputs):
        return Machine()
    found = await configured_channels(opening.settings)
    return Machine(channels=found.texts, auth=found.auth, written=found.written)


async def resolve_files(
    opening: Opening,
    inputs: Sequence[Asked],
    *,
    options: ResolveOptions | None = None,
    choose: ChooseResolver | None = None,
    emit: events.EventSink = events.ignore,
    say: Callable[[str], None] | None = None,
    machine: Machine | None = None,
) -> Resolved:
    """Resolve environments that are asked for by files and options, all at once.

    Args:
        opening: All settings, and where environments that are named are looked for.
        inputs: One for each environment.
        options: How.
        choose: Who resolves an environment of a type; None: as the settings say.
        emit: Where events go (see `resolve`).
        say: Called with a sentence when a damaged list of environments was quarantined.
        machine: What of this machine enters requests; found out when None.

    Returns:
        One row for each environment and architecture, and one for each environment whose input is wrong.

    Raises:
        UsageError: The environments contradict each other, or the options.
    """
    options = options or ResolveOptions()
    read_ones = await read_inputs(opening, inputs, local_only=options.local_only, machine=machine)
    wanted = [each for each in read_ones if isinstance(each, Wanted)]
    resolved = await resolve(opening.settings, wanted, options=options, choose=choose, emit=emit, say=say)
    rows = iter(resolved.rows)
    in_order: list[Row] = []
    for each, outcome in zip(inputs, read_ones, strict=True):
        if isinstance(outcome, Wanted):
            in_order += [next(rows) for _arch in outcome.asked]
        else:
            in_order.append(_unread(each, outcome))
    resolved.rows = in_order
    return resolved


def _names(each: Asked) -> bool:
    if isinstance(each, Inputs):
        return bool(each.using or each.source)
    return isinstance(each, StepInputs) and each.base is not None


def _unread(asked: Asked, error: AsyncCacheError) -> Row:
    if not isinstance(asked, Inputs):
        return Row(asked.name, asked.arch if isinstance(asked, StepInputs) else "", "", errors={"": error})
    first = next((file.path for file in asked.files), None)
    return Row(
        asked.name or first or asked.using or asked.source or "input", ", ".join(asked.arches), "", errors={"": error}
    )
