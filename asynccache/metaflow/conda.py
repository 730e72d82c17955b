"""`Conda`: what programs do with environments by hand, as they know it from metaflow-netflixext (contract, section 13).

Where flows are launched; each method is one verb of `asynccache.api`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asynccache.errors import AsyncCacheError, ObjectNotFoundError, UsageError
from asynccache.metaflow.environment_values import ResolvedEnvironment
from asynccache.metaflow.errors import CondaException, as_metaflow
from asynccache.metaflow.launch_settings import launch_settings
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.metaflow.other_functions import call_binary
from asynccache.metaflow.package_values import PackageSpecification
from asynccache.metaflow.values import EnvID
from asynccache.node.environments import environment_name, find_complete, read_marker
from asynccache.node.metaflow_configuration import root_name

if TYPE_CHECKING:
    from asynccache.api import ResolvedEnvironment as Resolved
    from asynccache.api import Session
    from asynccache.config import Settings

T = TypeVar("T")
_LINK = "__conda_python"
_DEFAULT = "_default"


class Conda:
    """Environments of a datastore's cache and of this machine.

    Args:
        echo: Called with what the user should know.
        datastore_type: `local`, `s3`, `azure` or `gs`.
        mode: `local` or `remote`; both do the same.
    """

    def __init__(self, echo: Callable[..., None], datastore_type: str, mode: str = "local") -> None:
        self.echo = echo
        self.datastore_type = datastore_type
        self.mode = mode
        self._loop = LoopThread()
        self._added: list[ResolvedEnvironment] = []

    @cached_property
    def settings(self) -> Settings:
        """All settings."""
        try:
            return launch_settings(self.datastore_type).settings
        except AsyncCacheError as exc:
            raise as_metaflow(exc) from exc

    @cached_property
    def storage(self) -> Any:
        """Metaflow's storage on the root of the cache, None if there is no root."""
        from metaflow import metaflow_config  # noqa: PLC0415
        from metaflow.plugins import DATASTORES  # noqa: PLC0415

        here = str(self.settings.root.directory) if self.datastore_type == "local" else None
        root = getattr(metaflow_config, root_name(self.datastore_type), None) or here
        found = next((each for each in DATASTORES if self.datastore_type == each.TYPE), None)
        return found(root) if found is not None and root else None

    def binary(self, binary: str) -> str | None:
        """Return the path of a conda program, None if this machine has none of this name."""
        from asynccache.api.flows import find_program  # noqa: PLC0415

        named = (self.settings.conda_dependency_resolver or binary) if binary == "conda" else binary
        found = find_program(named, self.settings)
        return None if found is None else str(found.path)

    def call_binary(
        self,
        args: Sequence[str],
        binary: str,
        addl_env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        pretty_print_exception: bool = True,
    ) -> bytes:
        """Run a program and return what it prints.

        Raises:
            CondaException: This machine does not have it, or it failed.
        """
        path = self.binary(binary)
        if path is None:
            raise CondaException(f"There is no {binary!r} on this machine")
        return call_binary(args, path, cwd, addl_env=addl_env)[0]

    def call_conda(
        self,
        args: Sequence[str],
        binary: str = "conda",
        addl_env: Mapping[str, str] | None = None,
        pretty_print_exception: bool = True,
    ) -> bytes:
        """Run a conda program so that it answers with JSON; return that.

        Raises:
            CondaException: This machine does not have it, or it failed.
        """
        json = {"CONDA_JSON": "True", "MAMBA_JSON": "True", "MAMBA_NO_BANNER": "1"}
        return self.call_binary(args, binary, {**json, **(addl_env or {})})

    def environment(
        self,
        env_id: Sequence[str],
        local_only: bool = False,
        use_latest: str = ":none:",
        full_id_unique_keys: Mapping[str, str] | None = None,
    ) -> ResolvedEnvironment | None:
        """Return an environment, None if neither this machine nor the cache knows it.

        The id `_default` is what a request means on this machine.

        Raises:
            CondaException: The cache cannot be read.
        """
        req_id, full_id, arch = env_id
        known = self.get_default_environment(req_id, arch) if full_id == _DEFAULT else EnvID(req_id, full_id, arch)
        found = None if known is None else self._find(f"{known.req_id}:{known.full_id}", arch, local_only)
        agrees = found is None or full_id_unique_keys in (None, found.full_id_unique_keys)
        return found if agrees else None

    def environments(
        self, req_id: str, arch: str | None = None, local_only: bool = False
    ) -> list[tuple[EnvID, ResolvedEnvironment]]:
        """Return all that a request was resolved to, the latest first.

        Raises:
            CondaException: The cache cannot be read.
        """

        async def listed(session: Session) -> list[Resolved]:
            place = arch or _this_architecture()
            rows = session.list_environments(req_id, arch=place, remote=not local_only)
            ids = [row.summary.id async for row in rows]
            return [await session.find(str(each), arch=each.arch, local_only=local_only) for each in ids]

        return [(each.env_id, each) for each in map(_value, self._run(listed))]

    def env_id_from_alias(self, env_alias: str, arch: str | None = None, local_only: bool = False) -> EnvID | None:
        """Return the id of the environment that has a name, None if nothing has it.

        Raises:
            CondaException: It is not a name, or the cache cannot be read.
        """
        found = self.environment_from_alias(env_alias, arch, local_only)
        return None if found is None else found.env_id

    def environment_from_alias(
        self, env_alias: str, arch: str | None = None, local_only: bool = False
    ) -> ResolvedEnvironment | None:
        """Return the environment that has a name, None if nothing has it.

        Raises:
            CondaException: It is not a name, or the cache cannot be read.
        """
        return self._find(env_alias, arch, local_only)

    def aliases_for_env_id(self, env_id: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the names of an environment that this machine knows: those that stay, those that move."""

        async def names(session: Session) -> tuple[list[str], list[str]]:
            (found,) = await session.presence(await session.find(f"{env_id[0]}:{env_id[1]}", arch=env_id[2]))
            stay = [alias.stored for alias in found.names if not alias.mutable]
            return stay, [alias.stored for alias in found.names if alias.mutable]

        return self._run(names)

    def alias_environment(self, env_id: Sequence[str], aliases: Iterable[str]) -> None:
        """Give an environment further names, for everybody who uses the cache.

        Raises:
            CondaException: A name cannot be given.
        """

        async def give(session: Session) -> None:
            (await session.alias(f"{env_id[0]}:{env_id[1]}", *aliases)).raise_for_failures()

        self._run(give, writing=True)

    def get_default_environment(self, req_id: str, arch: str | None) -> EnvID | None:
        """Return what a request means on this machine, None if it was never resolved here."""

        async def default(session: Session) -> EnvID | None:
            rows = session.list_environments(req_id, arch=arch or _this_architecture(), remote=False)
            found = [row.summary.id async for row in rows if row.default]
            return EnvID(*found[0].as_list()) if found else None

        return self._run(default)

    def set_default_environment(self, env_id: Sequence[str]) -> None:
        """Let a request mean an environment on this machine.

        Raises:
            CondaException: The environment is not known.
        """

        async def take(session: Session) -> None:
            await session.get(f"{env_id[0]}:{env_id[1]}", arch=env_id[2], default=True)

        self.write_out_environments()
        self._run(take)

    def add_environments(self, resolved_envs: Iterable[ResolvedEnvironment]) -> None:
        """Remember environments; `write_out_environments` enters them into this machine's list."""
        self._added += resolved_envs

    def write_out_environments(self) -> None:
        """Enter what was added into this machine's list.

        Raises:
            CondaException: The list cannot be written.
        """
        added, self._added = self._added, []
        if added:
            self._run(lambda session: session.keep(*map(_model, added)))

    def create_for_step(
        self, step_name: str, env: ResolvedEnvironment, do_symlink: bool = False, only_binary: bool = False
    ) -> str:
        """Make an environment as the steps of flows use it, or find it; return its directory.

        Raises:
            CondaException: It cannot be made.
        """
        return self._create(env, None, do_symlink, only_binary)

    def create_for_name(
        self,
        name: str,
        env: ResolvedEnvironment,
        do_symlink: bool = False,
        quiet: bool = False,
        only_binary: bool = False,
    ) -> str:
        """Make an environment of a name, or find it; return its directory.

        Raises:
            CondaException: It cannot be made, or another one has the name.
        """
        return self._create(env, name, do_symlink, only_binary)

    def created_environment(self, env_desc: Sequence[str] | str) -> tuple[EnvID, str] | None:
        """Return (id, directory) of an environment on this machine, by its name or id; None if it is not there."""
        from asynccache.api import EnvID as Id  # noqa: PLC0415
        from asynccache.api.flows import environments_directory, other_prefix  # noqa: PLC0415

        directory = environments_directory(self.settings)
        if isinstance(env_desc, str):
            marker = read_marker(str(directory / env_desc))
            return None if marker is None else (EnvID(*marker), str(directory / env_desc))
        req_id, full_id, arch = env_desc
        place = directory / environment_name(req_id, full_id, "step")
        found = find_complete(str(place), (req_id, full_id, arch)) or other_prefix(self.settings, Id(*env_desc))
        return None if found is None else (EnvID(req_id, full_id, arch), str(found))

    def lazy_fetch_packages(
        self,
        packages: Iterable[PackageSpecification],
        auth_info: Any,
        dest_dir: str,
        require_conda_format: Sequence[str] | None = None,
        require_url_format: bool = False,
        requested_arch: str | None = None,
        search_dirs: Sequence[str] | None = None,
    ) -> None:
        """Bring archives into a directory, verified; each package knows its own by `local_files` afterwards.

        Logins come from the settings, and the format of an archive is whichever is there.

        Raises:
            CondaException: One that cannot be obtained.
        """
        from asynccache.api import EnvironmentPackage  # noqa: PLC0415
        from asynccache.api.flows import archive_files  # noqa: PLC0415

        wanted = [package for package in packages if not package.local_files]
        asked = [EnvironmentPackage.from_document(package.to_dict()) for package in wanted]
        with_paths = self._call(archive_files(self.settings, asked, Path(dest_dir)))
        for package, (fmt, path) in zip(wanted, with_paths):
            package.add_local_file(fmt, str(path), downloaded=True)

    def _create(self, env: ResolvedEnvironment, name: str | None, link: bool, only_binary: bool) -> str:
        wheels = [p for p in env.packages if p.TYPE != "pypi" or p.url_format == ".whl" or p.cached_version(".whl")]
        if only_binary and len(wheels) != len(env.packages):
            raise CondaException("only_binary leaves sources out, and asynccache makes whole environments only")

        async def create(session: Session) -> str:
            made = await session.create(_model(env), name=name, kind="step")
            return str(made.prefix)

        prefix = self._run(create)
        if link:
            temporary = f"{_LINK}.{os.getpid()}"
            os.symlink(os.path.join(prefix, "bin", "python"), temporary)
            os.replace(temporary, _LINK)
        return prefix

    def _find(self, name: str, arch: str | None, local_only: bool) -> ResolvedEnvironment | None:
        added = {f"{e.env_id.req_id}:{e.env_id.full_id}": e for e in self._added if arch in (None, e.env_id.arch)}
        if name in added:
            return added[name]

        async def find(session: Session) -> Resolved | None:
            try:
                return await session.find(name, arch=arch, local_only=local_only)
            except ObjectNotFoundError:
                return None

        found = self._run(find)
        return None if found is None else _value(found)

    def _run(self, work: Callable[[Session], Coroutine[Any, Any, T]], **options: Any) -> T:
        try:
            return self._loop.verb(self.settings, work, say=self.echo, **options)
        except AsyncCacheError as exc:
            raise as_metaflow(exc) from exc

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.call(work)
        except AsyncCacheError as exc:
            raise as_metaflow(exc) from exc


def _value(found: Resolved) -> ResolvedEnvironment:
    return ResolvedEnvironment.from_dict(found.id.as_list(), found.as_document())


def _model(env: ResolvedEnvironment) -> Resolved:
    from asynccache.api import EnvID as Id  # noqa: PLC0415
    from asynccache.api import ResolvedEnvironment as Environment  # noqa: PLC0415

    try:
        return Environment.from_document(Id(*env.env_id), env.to_dict())
    except UsageError as exc:
        raise as_metaflow(exc) from exc


def _this_architecture() -> str:
    from asynccache.boot.manifest import this_architecture  # noqa: PLC0415

    return this_architecture()
