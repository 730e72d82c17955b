"""`asynccache plan`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from asynccache.errors import UsageError
from asynccache_cli.options import PlannedInsteadError, json_option, kept, plan_verbs, show
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Planned

PLANNED: Final = ("cache", "backfill", "warm", "clean", "verify", "audit", "replicate", "gc")
_NO_PRICES: Final = "not shown: the setting prices says what the store costs (docs/settings.md)"


@click.command("plan", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@click.argument("name", metavar="COMMAND")
@click.argument("words", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@json_option
@click.pass_context
def command(context: click.Context, *, name: str, words: tuple[str, ...]) -> None:
    """Estimate what a command would do: objects, bytes, requests, seconds and cost.

    Takes cache, backfill, warm, clean, verify, audit, replicate or gc with all its arguments and options. The store is
    listed as that command would list it, and a few objects are read to measure its speed; nothing is changed. Seconds
    are an estimate. The cost is computed from the setting prices.

    \b
    Examples:
      asynccache plan backfill --store s3://bucket/conda_env --to .conda
      asynccache plan verify --store s3://bucket/conda_env --sample 5%
      asynccache plan warm --env team/env:v1 --to remote --json
    """
    group = context.find_root().command
    found = group.get_command(context, name) if isinstance(group, click.Group) else None
    if found is None or name not in PLANNED:
        known = found is not None
        raise UsageError(
            f"`{name}` cannot be planned" if known else f"there is no command `{name}`", expected=", ".join(PLANNED)
        )
    as_json = bool(kept("json"))
    plan_verbs(context)
    try:
        with found.make_context(f"{context.info_name} {name}", list(words), parent=context.parent) as planned:
            found.invoke(planned)
    except PlannedInsteadError as done:
        show(done.plan, _text, as_json=as_json or None)


def _text(plan: Planned) -> Iterator[str]:
    yield f"{plan.command} would do this{f' in {plan.store}' if plan.store else ''}; nothing was changed:"
    work = ", ".join(f"{number} {what}" for what, number in plan.work.items() if number)
    yield f"objects   {plan.objects}{f': {work}' if work else ''}"
    for url, error in list(plan.failing.items())[:10]:
        yield f"failing   {url}: {error}"
    moved = [(plan.read_bytes, "read"), (plan.fetched_bytes, "fetched"), (plan.written_bytes, "written")]
    moved += [(plan.freed_bytes, "freed")]
    unknown = f" ({plan.unknown} of unknown size)" if plan.unknown else ""
    yield f"bytes     {', '.join(f'{human_bytes(size)} {what}' for size, what in moved if size) or 'none'}{unknown}"
    requests = ", ".join(
        f"{number} {kind}" + (f" to {most}" if most > number else "")
        for (kind, number), (_kind, most) in zip(plan.requests, plan.requests_at_most, strict=True)
        if most
    )
    yield f"requests  {requests or 'none'}{f', {plan.fetches} to sources' if plan.fetches else ''}"
    yield f"seconds   {'unknown' if plan.seconds is None else f'about {plan.seconds:.3g}'}: {plan.measured}"
    if plan.money is None:
        yield f"money     {_NO_PRICES}"
    else:
        money, currency = plan.money, f" {plan.money.currency}".rstrip()
        yield (
            f"money     {money.once:.4g}{currency} once, {money.once_at_most:.4g} at most"
            f" ({money.requests:.4g} for requests, {money.out:.4g} for bytes that are read), and"
            f" {money.monthly:.4g} a month for what is written"
        )
        if money.unpriced:
            yield f"no price  {', '.join(money.unpriced)}: the setting prices does not say what it costs"
    yield from (f"assumed   {sentence}" for sentence in plan.assumptions)
