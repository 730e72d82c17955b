"""The environments of a flow where it is launched or deployed: asked for, resolved, cached, made for local steps."""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asynccache.errors import AsyncCacheError, UsageError
from asynccache.metaflow import launch_settings
from asynccache.metaflow.deployment import deployment
from asynccache.metaflow.errors import as_metaflow
from asynccache.metaflow.local_hydration import LocalEnvironments
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.metaflow.merge import AskError, expand
from asynccache.metaflow.node_commands import FETCH, MANIFEST, NODE_MANIFEST
from asynccache.metaflow.node_manifest import as_json, node_manifest
from asynccache.metaflow.other_names import other_extension_installed
from asynccache.metaflow.progress import Announcement, Progress
from asynccache.metaflow.requirements_of import StepAsk, flow_asks, notices, task_variables
from asynccache.metaflow.resolve_steps import Found, caching, known_of_step, of_steps, resolve_steps
from asynccache.metaflow.wording import in_metaflows_words

if TYPE_CHECKING:
    from asynccache.api import Session
    from asynccache.config import Settings
    from asynccache.model.environment import ResolvedEnvironment

T = TypeVar("T")
_INDENT = "    "
_OTHER = "metaflow_extensions/netflixext"


class Launch:
    """What a process that launches a flow knows of its environments.

    Args:
        flow: The flow, decorators attached.
        datastore_type: `local`, `s3`, `azure` or `gs`.
    """

    def __init__(self, flow: Any, datastore_type: str) -> None:
        self.flow = flow
        self.datastore_type = datastore_type
        self.run_id = ""
        self.store: Any = None
        self.prepared = False
        self._echo: Any = None
        self._found: dict[str, ResolvedEnvironment] = {}
        self._fetched: dict[tuple[str, str], ResolvedEnvironment] = {}
        self._loop = LoopThread()
        self._local: LocalEnvironments | None = None
        self._files: list[tuple[Any, ...]] = []

    @cached_property
    def settings(self) -> Settings:
        """All settings."""
        try:
            return launch_settings.launch_settings(self.datastore_type).settings
        except AsyncCacheError as exc:
            raise as_metaflow(exc) from exc

    @cached_property
    def asks(self) -> dict[str, StepAsk]:
        """What each step asks for."""
        from metaflow import metaflow_config  # noqa: PLC0415 - not for what only imports this module

        return {asked.step: asked for asked in flow_asks(self.flow, metaflow_config.CONDA_REMOTE_COMMANDS)}

    @property
    def local(self) -> LocalEnvironments:
        """The environments of local steps."""
        if self._local is None:
            self._local = LocalEnvironments(self.settings, self._loop, self.say)
        return self._local

    def say(self, line: str) -> None:
        """Show the user a line."""
        if self._echo is not None:
            self._echo(_INDENT + in_metaflows_words(line))

    def prepare(self, echo: Any) -> None:
        """Resolve and cache what the steps ask for, all at once.

        Raises:
            MetaflowException: Something cannot be obtained; says what and for which step.
        """
        self._echo = echo
        self._say_once()
        asks = [asked for asked in self.asks.values() if asked.resolved_at_launch]
        found = self.resolve(asks, echo=echo)
        self._found = {step: each.environment for step, each in found.items()}
        self._debug(found)
        for_nodes = self._write_manifests()
        self._lease(for_nodes)
        self.prepared = True

    def run(self, work: Callable[[Session], Coroutine[Any, Any, T]], where: str = "", **options: Any) -> T:
        """Run what uses a session beside this thread, and wait for it.

        Args:
            work: Called with the session.
            where: What messages begin with.
            options: Of the session.

        Raises:
            CondaException: It failed.
        """
        try:
            return self._loop.verb(self.settings, work, **options)
        except AsyncCacheError as exc:
            raise as_metaflow(exc, where) from exc

    def resolve(self, asks: Sequence[StepAsk], *, echo: Any = None, **options: Any) -> dict[str, Found]:
        """Resolve and cache the environments of some steps, and say so unless `echo` is None; see `resolve_steps`.

        Raises:
            MetaflowException: Something cannot be obtained.
        """
        said: list[str] = []
        printed = _print_nothing if echo is None else echo
        announced = Announcement(printed)
        return self.run(
            lambda session: resolve_steps(session, asks, self.datastore_type, said, printed, announced, **options),
            writing=True,
            say=said.append,
            emit=Progress(lambda line: announced.say(in_metaflows_words(line)), "Caching").take,
        )

    def remote(self, step: str) -> bool:
        """Return whether a step runs elsewhere."""
        return step in self.asks and self.asks[step].remote

    def target(self, step: str, task_id: str | None = None) -> list[str] | None:
        """Return the ids of a step's environment; see `CondaEnvironment.target`."""
        asked = self.asks.get(step)
        if asked is None or asked.ask.disabled:
            return None
        if asked.ask.fetch_at_exec:
            fetched = self._fetched.get((step, str(task_id)))
            return [str(asked.ask.base), FETCH, ""] if fetched is None else fetched.id.as_list()
        found = self._found.get(step)
        return None if found is None else found.id.as_list()

    def known_target(self, step: str) -> list[str] | None:
        """Return the ids where nothing was prepared in this process: out of this machine's list.

        Raises:
            CondaException: The step's environment was never resolved.
        """
        asked = self.asks[step]
        if not asked.resolved_at_launch:
            return self.target(step)
        known = self.run(lambda session: known_of_step(session, asked, self.datastore_type), writing=True)
        return known.as_list()

    def task_created(self, step: str, task_id: str) -> None:
        """Look up an environment that is looked up late, and begin to make one that a local task needs."""
        asked = self.asks[step]
        if asked.ask.fetch_at_exec:
            self._fetched[step, str(task_id)] = self._fetch(asked, task_id)
        environment = self._fetched.get((step, str(task_id))) or self._found.get(step)
        if environment is not None and not asked.remote:
            self.local.want(environment)

    def interpreter(self, target: Sequence[str]) -> list[str]:
        """Return the command that is the Python of a local task."""
        from asynccache.model.identity import EnvID  # noqa: PLC0415 - where flows are launched

        env_id = EnvID(*target)
        environment = next((e for e in (*self._found.values(), *self._fetched.values()) if e.id == env_id), None)
        if environment is not None:
            self.local.want(environment)  # a task that is retried tries to make it again
        return self.local.interpreter(env_id)

    def library_path(self, target: Sequence[str]) -> dict[str, str]:
        """Return the variables by which wheels find an environment's shared libraries (Linux)."""
        if not sys.platform.startswith("linux"):
            return {}
        old = os.environ.get("LD_LIBRARY_PATH", "")
        from asynccache.model.identity import EnvID  # noqa: PLC0415 - where flows are launched

        libraries = str(self.local.prefix(EnvID(*target)) / "lib")
        found = {"LD_LIBRARY_PATH": f"{libraries}:{old}" if old else libraries}
        return {**found, "MF_ORIG_LD_LIBRARY_PATH": old} if old else found

    @staticmethod
    def as_variable(target: Sequence[str] | None) -> str:
        """Return ids as processes hand them on; empty for a step without an environment."""
        return "" if target is None else json.dumps(list(target))

    def package_files(self) -> Iterator[tuple[Any, ...]]:
        """Yield what goes into the code package."""
        yield from self._files

    def close(self, *, interrupted: bool = False) -> None:
        """End what this began; see `LoopThread.close`."""
        if self._local is not None:
            self._local.close(interrupted=interrupted)
            self._local = None
        self._loop.close(interrupted=interrupted)

    def _fetch(self, asked: StepAsk, task_id: str) -> ResolvedEnvironment:
        try:
            name = expand(str(asked.ask.base), task_variables(self.flow, self.store, self.run_id, asked.step, task_id))
        except AskError as exc:
            from metaflow.metaflow_environment import InvalidEnvironmentException  # noqa: PLC0415

            raise InvalidEnvironmentException(str(exc)) from exc
        where = f"Cannot find environment '{name}' of step '{asked.step}': "
        return self.run(lambda session: session.find(name, arch=asked.arch), where)

    def _say_once(self) -> None:
        from metaflow import metaflow_config  # noqa: PLC0415

        for line in notices(self.flow):
            self.say(line.replace("*", ""))
        if metaflow_config.CONDA_BARE_KEYS:
            keys = ", ".join(metaflow_config.CONDA_BARE_KEYS)
            self.say(f"Configuration keys without METAFLOW_ in front are accepted, though only here: {keys}")

    def _debug(self, found: Mapping[str, Found]) -> None:
        """Report on standard error what steps asked for and got, with METAFLOW_DEBUG_CONDA=1."""
        from metaflow.debug import debug  # noqa: PLC0415 - as in the other methods

        if not debug.conda:
            return
        debug.conda_exec(f"cache at {self.settings.root}")
        for step, asked in self.asks.items():
            wanted = {c: dict(packages) for c, packages in asked.ask.packages.items() if packages}
            place = f"{'elsewhere' if asked.remote else 'here'} on {asked.arch}"
            named = f", on top of {asked.ask.base}" if asked.ask.base else ""
            debug.conda_exec(f"step {step} runs {place}, python {asked.ask.python or 'by default'}{named}: {wanted}")
            if step in found:
                got = found[step]
                how = "known" if got.row.known else "resolved now"
                debug.conda_exec(f"step {step} has {got.environment.id} ({how})")

    def _lease(self, for_nodes: Mapping[str, Any]) -> None:
        """Protect what a deployed flow names from collection: its runs cannot be listed.

        Args:
            for_nodes: The manifest of its nodes.

        Raises:
            MetaflowException: The lease cannot be written, so the flow must not be deployed.
        """
        found = deployment()
        if found is None or not self._found or not caching(self.datastore_type):
            return
        deployer, name = found
        objects = [each["key"] for part in ("bundles", "decoders") for each in for_nodes.get(part, {}).values()]
        environments = list({environment.id: environment for environment in self._found.values()}.values())
        self.run(
            lambda session: session.lease(
                name, *environments, deployer=deployer, flow=self.flow.name, objects=list(dict.fromkeys(objects))
            ),
            f"{self.flow.name} is not deployed, since `asynccache gc` could remove its environments: ",
            writing=True,
        )

    def _write_manifests(self) -> Mapping[str, Any]:
        """Write the environments of this flow, and no others, for those who read them on nodes; return the manifest."""
        from metaflow.packaging_sys import ContentType  # noqa: PLC0415

        from asynccache.api.flows import Manifest  # noqa: PLC0415 - where flows are launched

        manifest = Manifest()
        for environment in {e.id: e for e in self._found.values()}.values():
            manifest.add(environment, default=True)
        remote = {step: found for step, found in self._found.items() if self.remote(step)}
        fetching = {step: a for step, a in self.asks.items() if a.ask.fetch_at_exec and self.remote(step)}
        named = {step: str(asked.ask.base) for step, asked in fetching.items()}
        unnamed = [
            (
                step,
                UsageError(
                    "a name is looked up when it starts, and the setting trust requires a digest",
                    expected=f"{name}@sha256:DIGEST",
                    hint="`asynccache env show` prints it",
                ),
            )
            for step, name in named.items()
            if self.settings.trust == "require" and "@sha256:" not in name
        ]
        if unnamed:
            raise of_steps(unnamed)
        try:
            looking = {asked.arch for asked in fetching.values()}
            for_nodes = self._loop.call(node_manifest(self.settings, remote, looking=looking, echo=self._echo))
        except AsyncCacheError as exc:
            elsewhere = [*remote, *fetching]
            raise (of_steps((step, exc) for step in elsewhere) if elsewhere else as_metaflow(exc)) from exc
        directory = tempfile.TemporaryDirectory(prefix="asynccache-manifest-")
        atexit.register(directory.cleanup)
        for name, data in ((MANIFEST, manifest.to_json()), (NODE_MANIFEST, as_json(for_nodes).encode())):
            path = Path(directory.name) / name
            path.write_bytes(data)
            self._files.append((str(path), name, ContentType.OTHER_CONTENT))
        if not other_extension_installed():
            self._files += [(*file, ContentType.CODE_CONTENT) for file in _other_names(Path(directory.name))]
        return for_nodes


def _print_nothing(*_words: object, **_options: object) -> None:
    """Take the place of Metaflow's function that prints."""


def _other_names(directory: Path) -> Iterator[tuple[str, str]]:
    """Write the files under whose names flows that were deployed with the other extension look for a bootstrap."""
    names = [f"{package}/__init__.py" for package in (_OTHER, f"{_OTHER}/plugins", f"{_OTHER}/plugins/conda")]
    bootstrap = f"{_OTHER}/plugins/conda/remote_bootstrap.py"
    texts = dict.fromkeys(names, "") | {bootstrap: Path(__file__).with_name("remote_bootstrap.py").read_text("utf-8")}
    for number, (name, text) in enumerate(texts.items()):
        path = directory / f"{number}.py"  # each needs a file of its own
        path.write_text(text, "utf-8")
        yield str(path), name
