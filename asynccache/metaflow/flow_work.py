"""What `python flow.py environment resolve|show` does (contract, section 6.2)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaflow.exception import CommandException

from asynccache.errors import AsyncCacheError
from asynccache.metaflow.environment import CondaEnvironment
from asynccache.metaflow.environment_text import EnvironmentText
from asynccache.metaflow.errors import CondaException, as_metaflow
from asynccache.metaflow.launch import Launch
from asynccache.metaflow.requirements_of import StepAsk, inputs_of
from asynccache.metaflow.resolve_steps import Found, read_steps

if TYPE_CHECKING:
    from asynccache.api import EnvID, Known, ResolvedEnvironment, Session


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
        CondaException: Something cannot be obtained.
    """
    from asynccache.model.platform import checked_architecture  # noqa: PLC0415 - when the command runs

    launch: Launch = obj.environment.launch
    asks = [asked for asked in _chosen(launch, steps) if asked.resolved_at_launch]
    try:
        places = [checked_architecture(arch) for arch in dict.fromkeys(arches)]
    except AsyncCacheError as exc:
        raise as_metaflow(exc) from exc
    echo = None if obj.asynccache_quiet else obj.echo
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
    groups: dict[EnvID, tuple[Found, list[str]]] = {}
    for step, by_arch in found.items():
        for each in by_arch.values():
            groups.setdefault(each.environment.id, (each, []))[1].append(step)
    if all(each.row.known for each, _steps in groups.values()) and not aliases and not force:
        obj.echo("No environments to resolve, use --force to resolve them again")
        return
    text = _text(launch)
    for each, members in groups.values():
        if obj.asynccache_quiet:
            obj.echo_always(",".join(members), err=True)
            obj.echo_always(text.quiet(each.environment, each.row.aliases), err=True)
            continue
        obj.echo(f"### Environment for step(s) {', '.join(members)} ###")
        for line in text.long(each.environment, default=each.row.default, more=each.row.aliases):
            obj.echo(line)


def show_flow(obj: Any, *, steps: Sequence[str], local_only: bool, output: str | None) -> None:
    """Print what steps ask for and what is known for it.

    Raises:
        CommandException: A step is not there.
        CondaException: The store cannot be read.
    """
    launch: Launch = obj.environment.launch
    states = [_State(asked) for asked in _chosen(launch, steps)]
    for state in states:
        try:
            launch.run(partial(state.look, launch.datastore_type, local_only=local_only), writing=True)
        except CondaException as exc:
            state.error = str(exc)
    if output:
        _write(output, {state.asked.step: state.as_document() for state in states})
        return
    text = _text(launch)
    for number, state in enumerate(states):
        if number and not obj.asynccache_quiet:
            obj.echo("=" * 10)
        for line in state.lines(text, quiet=obj.asynccache_quiet):
            obj.echo_always(line, err=True)


@dataclass
class _State:
    """What is known of one step's environment."""

    asked: StepAsk
    error: str | None = None
    _known: Known | None = None
    _environment: ResolvedEnvironment | None = None
    _cached: bool = False

    async def look(self, datastore_type: str, session: Session, *, local_only: bool) -> None:
        """Find out."""
        ask = self.asked.ask
        if ask.disabled or (ask.fetch_at_exec and "@{" in str(ask.base)):
            return
        if ask.fetch_at_exec:
            self._environment = await session.find(str(ask.base), arch=self.asked.arch, local_only=local_only)
            return
        wanted = await session.read(inputs_of(self.asked, datastore_type), local_only=local_only)
        self._known = (await session.known(*wanted, local_only=local_only))[0]
        asked = wanted[0].asked[self.asked.arch]
        self._environment = self._known.environment or (asked.base if asked.compatible else None)
        if self._environment is not None and not local_only:
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
            return [*lines, *text.long(found, by_name=True)]
        if request is not None:
            for title, part in (("User-requested packages", request.deps), ("User sources", request.sources)):
                values = [f"{category}::{value}" for category, values in part.items() for value in values]
                lines.append(f"{title} {', '.join(values).replace('*', 'x')}")
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
    return EnvironmentText(lambda found: launch.run(lambda session: session.presence(found))[0])


def _chosen(launch: Launch, steps: Sequence[str]) -> list[StepAsk]:
    unknown = [step for step in steps if step not in launch.asks]
    if unknown:
        raise CommandException(f"The flow has no step {unknown[0]!r}; its steps are {', '.join(launch.asks)}")
    order = launch.flow._graph.sorted_nodes  # noqa: SLF001 - Metaflow has no public way
    return [launch.asks[step] for step in order if step in launch.asks and (not steps or step in steps)]


def _check_one(launch: Launch, asks: Sequence[StepAsk]) -> None:
    async def ids(session: Session) -> dict[str, str]:
        wanted = await read_steps(session, asks, launch.datastore_type)
        return {each.name: asked.request.req_id for each in wanted for asked in each.asked.values()}

    found = launch.run(ids, writing=True)
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
    """Write JSON into a file, whole or not at all, or into what programs made to read from, such as a FIFO."""
    path = Path(output)
    text = json.dumps(document, indent=2)
    if path.exists() and not path.is_file():
        path.write_text(text, "utf-8")
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
