"""What `python flow.py environment resolve|show` does (contract, section 6.2)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaflow.exception import CommandException

from asynccache.errors import AsyncCacheError
from asynccache.metaflow.environment import CondaEnvironment
from asynccache.metaflow.environment_text import EnvironmentText, plain
from asynccache.metaflow.errors import as_metaflow
from asynccache.metaflow.launch import Launch
from asynccache.metaflow.requirements_of import StepAsk, inputs_of
from asynccache.metaflow.resolve_steps import Found, read_steps

if TYPE_CHECKING:
    from asynccache.api import Known, Presence, ResolvedEnvironment


def check_type(obj: Any) -> None:
    """Refuse to work on a flow whose steps have no environments.

    Raises:
        CommandException: Another `--environment` was given.
    """
    if not isinstance(obj.environment, CondaEnvironment):
        raise CommandException(
            f"The 'environment' command needs --environment=conda, not {obj.environment.TYPE!r}: write"
            " `python flow.py --environment=conda environment ...`"
        )


def resolve_flow(
    obj: Any,
    *,
    steps: Sequence[str],
    aliases: Sequence[str],
    force: bool,
    dry_run: bool,
    arches: Sequence[str],
    output: str | None,
) -> None:
    """Resolve the environments of steps and print them.

    Raises:
        CommandException: A step is not there, or one name would mean several environments.
        CondaException: Something cannot be had.
    """
    from asynccache.model.platform import checked_architecture  # noqa: PLC0415 - when the command runs

    launch = _launch(obj)
    quiet = obj.asynccache_quiet
    asks = _chosen(launch, steps)
    asks = [asked for asked in asks if asked.resolved_at_launch]
    try:
        places = [checked_architecture(arch) for arch in dict.fromkeys(arches)]
    except AsyncCacheError as exc:
        raise as_metaflow(exc) from exc
    echo = None if quiet else obj.echo
    found: dict[str, dict[str, Found]] = {}
    chosen: list[str | None] = [*places] or [None]
    for arch in chosen:
        placed = [asked if arch is None else replace(asked, arch=arch) for asked in asks]
        if aliases:
            _check_one(launch, placed)
        results = launch.resolve(placed, force=force, dry_run=dry_run, aliases=aliases, echo=echo)
        for step, each in results.items():
            found.setdefault(step, {})[each.environment.id.arch] = each
    if output:
        _write(output, {s: {a: _row(each) for a, each in by.items()} for s, by in found.items()})
        return
    new = [each for by in found.values() for each in by.values() if not each.row.known]
    if not new and not aliases and not force:
        obj.echo("No environments to resolve, use --force to resolve them again")
        return
    text = _text(launch)
    groups: dict[Any, list[str]] = {}
    for step, by_arch in found.items():
        for each in by_arch.values():
            groups.setdefault(each.environment.id, []).append(step)
    shown = {each.environment.id: each for by in found.values() for each in by.values()}
    for env_id, members in groups.items():
        row = shown[env_id].row
        if quiet:
            obj.echo_always(",".join(members), err=True)
            obj.echo_always(text.quiet(shown[env_id].environment, row.aliases), err=True)
            continue
        obj.echo(f"### Environment for step(s) {', '.join(members)} ###")
        for line in text.long(shown[env_id].environment, default=row.default, more=row.aliases):
            obj.echo(plain(line))


def show_flow(obj: Any, *, steps: Sequence[str], local_only: bool, output: str | None) -> None:
    """Print what steps ask for and what is known for it.

    Raises:
        CommandException: A step is not there.
        CondaException: The store cannot be read.
    """
    launch = _launch(obj)
    asks = _chosen(launch, steps)
    states = [_State(launch, asked, local_only=local_only) for asked in asks]
    for state in states:
        try:
            launch.run(state.look())
        except AsyncCacheError as exc:
            state.error = str(exc)
    if output:
        _write(output, {state.asked.step: state.as_document() for state in states})
        return
    text = _text(launch)
    for number, state in enumerate(states):
        if number and not obj.asynccache_quiet:
            obj.echo("=" * 80)
        for line in state.lines(text, quiet=obj.asynccache_quiet):
            obj.echo_always(line, err=True)


class _State:
    """What is known of one step's environment."""

    def __init__(self, launch: Launch, asked: StepAsk, *, local_only: bool) -> None:
        self.asked = asked
        self.error: str | None = None
        self._launch = launch
        self._local_only = local_only
        self._known: Known | None = None
        self._environment: ResolvedEnvironment | None = None
        self._cached = False

    async def look(self) -> None:
        """Find out."""
        from asynccache.api import Session  # noqa: PLC0415 - when the command runs

        ask = self.asked.ask
        if ask.disabled or (ask.fetch_at_exec and "@{" in str(ask.base)):
            return
        async with Session(self._launch.settings, writing=True) as session:
            if ask.fetch_at_exec:
                self._environment = await session.find(str(ask.base), arch=self.asked.arch, local_only=self._local_only)
                return
            inputs = inputs_of(self.asked, self._launch.datastore_type)
            wanted = await session.read(inputs, local_only=self._local_only)
            self._known = (await session.known(*wanted, local_only=self._local_only))[0]
            self._environment = self._known.environment
            if self._environment is not None and not self._local_only:
                self._cached = (await session.published(self._environment))[0]

    def states(self, text: EnvironmentText) -> list[str]:
        """Return the words for it."""
        ask, found = self.asked.ask, self._environment
        if ask.disabled:
            return ["disabled"]
        words = []
        if ask.base:
            words.append(f"{'fetch-at-exec of' if ask.fetch_at_exec else 'derived from'} {ask.base}")
        if found is None:
            return words if ask.fetch_at_exec else [*words, "unresolved"]
        words.append("resolved")
        if self._known is not None and self._known.compatible:
            words.append("compatible with base environment")
        if self._cached:
            words.append("cached")
        if text.present(found):
            words.append("locally present")
        return words

    def lines(self, text: EnvironmentText, *, quiet: bool) -> list[str]:
        """Return what is printed."""
        found, request = self._environment, self._known.request if self._known else None
        states = self.states(text) if self.error is None else [f"unknown: {self.error}"]
        if quiet:
            return [self.asked.step, text.quiet(found) if found else ",".join(states).replace(" ", "_")]
        lines = [f"Step {self.asked.step}", f"\tEnvironment is {', '.join(states)}", ""]
        if found is not None:
            return [*lines, *(f"\t{plain(line)}" for line in text.long(found))]
        if request is not None:
            for title, part in (("User-requested packages", request.deps), ("User sources", request.sources)):
                values = [f"{category}::{value}" for category, values in part.items() for value in values]
                lines.append(f"\t{title} {', '.join(values).replace('*', 'x')}")
        return lines

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""
        from asynccache.api.flows import packages_of  # noqa: PLC0415 - when the command runs

        ask, found = self.asked.ask, self._environment
        request = self._known.request if self._known else None
        return {
            "is_disabled": bool(ask.disabled),
            "error": self.error,
            "requested_hash": None if request is None else request.req_id,
            "requested_packages": {} if request is None else {c: packages_of(v) for c, v in request.deps.items()},
            "requested_sources": {} if request is None else {c: list(v) for c, v in request.sources.items()},
            "from_env_name": ask.base,
            "is_fetch_at_exec": bool(ask.fetch_at_exec),
            "env_id": None if found is None else found.id.as_list(),
            "env": None if found is None else found.as_document(),
        }


def _text(launch: Launch) -> EnvironmentText:
    async def presence(found: ResolvedEnvironment) -> Presence:
        from asynccache.api import Session  # noqa: PLC0415 - when the command runs

        async with Session(launch.settings) as session:
            return (await session.presence(found))[0]

    return EnvironmentText(lambda found: launch.run(presence(found)))


def _launch(obj: Any) -> Launch:
    launch: Launch = obj.environment.launch
    return launch


def _chosen(launch: Launch, steps: Sequence[str]) -> list[StepAsk]:
    unknown = [step for step in steps if step not in launch.asks]
    if unknown:
        raise CommandException(f"The flow has no step {unknown[0]!r}; its steps are {', '.join(launch.asks)}")
    order = [node.name for node in launch.flow._graph if node.name in launch.asks]  # noqa: SLF001 - Metaflow's own
    return [launch.asks[step] for step in _in_graph_order(launch.flow, order) if not steps or step in steps]


def _in_graph_order(flow: Any, names: Sequence[str]) -> list[str]:
    """Return steps as they follow each other from `start`, those of one distance in the order of the source."""
    graph = flow._graph  # noqa: SLF001 - Metaflow has no public way
    distance = {"start": 0}
    pending = ["start"]
    for name in pending:
        for following in graph[name].out_funcs:
            if following in names and distance.get(following, -1) < distance[name] + 1 <= len(names):
                distance[following] = distance[name] + 1
                pending.append(following)
    return sorted(names, key=lambda name: distance.get(name, len(names)))


def _check_one(launch: Launch, asks: Sequence[StepAsk]) -> None:
    async def ids() -> dict[str, str]:
        from asynccache.api import Session  # noqa: PLC0415 - when the command runs

        async with Session(launch.settings, writing=True) as session:
            wanted = await read_steps(session, asks, launch.datastore_type)
        return {each.name: asked.request.req_id for each in wanted for asked in each.asked.values()}

    try:
        found = launch.run(ids())
    except AsyncCacheError as exc:
        raise as_metaflow(exc) from exc
    if len(set(found.values())) > 1:
        raise CommandException(
            "Cannot specify aliases: the steps have different environments"
            f" ({', '.join(f'{step}: {req_id[:12]}' for step, req_id in found.items())}); name one step"
        )


def _row(found: Found) -> dict[str, Any]:
    environment = found.environment
    return {
        "req_id": environment.id.req_id,
        "full_id": environment.id.full_id,
        "newly_resolved": not found.row.known,
        "env": environment.as_document(),
    }


def _write(output: str, document: dict[str, Any]) -> None:
    """Write JSON into a file, or into what programs made to read from, such as a FIFO."""
    path = Path(output)
    text = json.dumps(document, indent=2)
    if path.exists() and not path.is_file():
        path.write_text(text, "utf-8")
        return
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    aside.write_text(text, "utf-8")
    aside.replace(path)
