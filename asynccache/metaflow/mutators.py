"""`@resolved_uv` and `@resolved_req`: steps run with what a lock file of the project says (contract, section 7.6)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Sequence

from metaflow.user_decorators.user_flow_decorator import FlowMutator

from asynccache.metaflow.environment import IDS_VARIABLE

_STEP_LEVEL = {"conda", "pypi", "pip", "named_env", "sys_packages"}
_FLOW_LEVEL = {name + "_base" for name in _STEP_LEVEL}
_ADDED = "pylock_toml_internal"
# Metaflow's stubs hold only what is defined in Metaflow or its extensions; this is where the classes are imported from
_EXPORTS = "metaflow_extensions.asynccache.toplevel.asynccache_names"


def find_project(files: Sequence[str], path: str | None, use_flow_dir: bool | None, flow_file: str) -> str | None:
    """Return the directory that holds the files.

    Args:
        files: Names, all of which must be there.
        path: The directory; None to look upwards.
        use_flow_dir: Start at the directory of the flow rather than the current one.
        flow_file: Path of the flow.

    Raises:
        ValueError: `path` and `use_flow_dir` are both given.
        FileNotFoundError: Only some of the files are there.
    """
    if path is not None and use_flow_dir is not None:
        raise ValueError("Cannot specify both `path` and `use_flow_dir`")
    if path is not None:
        return _complete(os.path.abspath(path), files)
    start = os.path.dirname(os.path.abspath(flow_file)) if use_flow_dir is not False else os.getcwd()
    for here in (start, *map(str, Path(start).parents)):
        if any(os.path.isfile(os.path.join(here, name)) for name in files):
            return _complete(here, files)
    return None


def _complete(directory: str, files: Sequence[str]) -> str:
    missing = [name for name in files if not os.path.isfile(os.path.join(directory, name))]
    if missing:
        raise FileNotFoundError("{} has no {}; it needs {}".format(directory, missing[0], " and ".join(files)))
    return directory


class _Resolved(FlowMutator):
    """What both share; not registered, since classes are derived from it."""

    files: tuple[str, ...] = ()
    _path: str | None = None
    _use_flow_dir: bool | None = None

    def init(self, path: str | None = None, use_flow_dir: bool | None = None) -> None:
        """Take the arguments."""
        self._path = path
        self._use_flow_dir = use_flow_dir

    def mutate(self, mutable_flow: Any) -> None:
        """Give every step the lock file."""
        if IDS_VARIABLE in os.environ or sys.version_info < (3, 11):  # not where the flow is launched
            return
        own = type(self).__name__
        _refuse_others(own, mutable_flow)
        flow_file = sys.modules[self._flow_cls.__module__].__file__ or sys.argv[0]
        directory = find_project(self.files, self._path, self._use_flow_dir, flow_file)
        if directory is None:
            raise ValueError(
                "@{} found neither {} in the directory of the flow nor above".format(own, " nor ".join(self.files))
            )
        from asynccache.metaflow.lock_files import lock  # noqa: PLC0415 - not in steps

        locked = lock(own, directory)
        for _name, step in mutable_flow.steps:
            step.add_decorator(_ADDED, deco_kwargs=locked)


def _refuse_others(own: str, mutable_flow: Any) -> None:
    specs = mutable_flow.decorator_specs
    mutators = {"resolved_uv", "resolved_req"} - {own}
    found = {spec[0] for spec in specs} & _FLOW_LEVEL | {spec[1].rsplit(".", 1)[-1] for spec in specs} & mutators
    if found:
        raise ValueError("Conflicting flow decorators: @{} excludes @{}".format(own, ", @".join(sorted(found))))
    for name, step in mutable_flow.steps:
        found = {spec[0] for spec in step.decorator_specs} & _STEP_LEVEL
        if found:
            excluded = ", @".join(sorted(found))
            raise ValueError(f"Conflicting step decorators: @{own} excludes @{excluded} of step '{name}'")


class resolved_uv(_Resolved):  # noqa: N801 - it is used as a decorator
    """
    All steps run with what `uv.lock` says.

    Parameters
    ----------
    path : str, optional, default None
        Directory of `uv.lock` and `pyproject.toml`.
    use_flow_dir : bool, optional, default None
        Look for them upwards from the flow's directory (the default) or, if False, from the current one.
    """

    __module__ = _EXPORTS
    files = ("uv.lock", "pyproject.toml")


class resolved_req(_Resolved):  # noqa: N801 - it is used as a decorator
    """
    All steps run with what a compiled `requirements.txt` says.

    Parameters
    ----------
    path : str, optional, default None
        Directory of `requirements.txt` and `requirements.in`.
    use_flow_dir : bool, optional, default None
        Look for them upwards from the flow's directory (the default) or, if False, from the current one.
    """

    __module__ = _EXPORTS
    files = ("requirements.txt", "requirements.in")
