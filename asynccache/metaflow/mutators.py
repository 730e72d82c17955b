"""`@resolved_uv` and `@resolved_req`: steps run with what a lock file of the project says (contract, section 7.6)."""

from __future__ import annotations

import os
import sys
from typing import Any, Sequence

from metaflow.user_decorators.user_flow_decorator import FlowMutator

from asynccache.metaflow.environment import IDS_VARIABLE

_FLOW_LEVEL = ("conda_base", "pypi_base", "pip_base", "named_env_base", "sys_packages_base")
_STEP_LEVEL = ("conda", "pypi", "pip", "named_env", "sys_packages")
_ADDED = "pylock_toml_internal"


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
    here = start
    while True:
        if any(os.path.isfile(os.path.join(here, name)) for name in files):
            return _complete(here, files)
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above


def _complete(directory: str, files: Sequence[str]) -> str:
    missing = [name for name in files if not os.path.isfile(os.path.join(directory, name))]
    if missing:
        raise FileNotFoundError("{} has no {}; it needs {}".format(directory, missing[0], " and ".join(files)))
    return directory


class _Resolved(FlowMutator):
    """What both share; not registered, since classes are derived from it."""

    files: tuple[str, ...] = ()

    def init(self, path: str | None = None, use_flow_dir: bool | None = None) -> None:
        """Take the arguments."""
        self._path = path
        self._use_flow_dir = use_flow_dir

    def mutate(self, mutable_flow: Any) -> None:
        """Give every step the lock file."""
        if IDS_VARIABLE in os.environ or not self._launching():
            return
        self._refuse_others(mutable_flow)
        flow_file = sys.modules[self._flow_cls.__module__].__file__ or sys.argv[0]
        path, use_flow_dir = getattr(self, "_path", None), getattr(self, "_use_flow_dir", None)
        directory = find_project(self.files, path, use_flow_dir, flow_file)
        if directory is None:
            raise ValueError(
                "@{} found neither {} in the directory of the flow nor above".format(
                    self._decorator(), " nor ".join(self.files)
                )
            )
        from asynccache.metaflow.lock_files import lock  # noqa: PLC0415 - not in steps

        locked = lock(self._decorator(), directory, flow_file)
        for _name, step in mutable_flow.steps:
            step.add_decorator(_ADDED, deco_kwargs=locked)

    def _decorator(self) -> str:
        return self.__class__.__name__

    def _launching(self) -> bool:
        return sys.version_info >= (3, 11)

    def _refuse_others(self, mutable_flow: Any) -> None:
        def conflicts(specs: Any, names: Sequence[str]) -> list[str]:
            return sorted({spec[0] for spec in specs} & set(names))

        found = conflicts(mutable_flow.decorator_specs, _FLOW_LEVEL)
        others = {"resolved_uv", "resolved_req"} - {self._decorator()}
        found += sorted({spec[1].rsplit(".", 1)[-1] for spec in mutable_flow.decorator_specs} & others)
        if found:
            raise ValueError(
                "Conflicting flow decorators: @{} excludes @{}".format(self._decorator(), ", @".join(found))
            )
        for name, step in mutable_flow.steps:
            found = conflicts(step.decorator_specs, _STEP_LEVEL)
            if found:
                raise ValueError(
                    "Conflicting step decorators: @{} excludes @{} of step '{}'".format(
                        self._decorator(), ", @".join(found), name
                    )
                )


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

    files = ("uv.lock", "pyproject.toml")

    def init(self, path: str | None = None, use_flow_dir: bool | None = None) -> None:
        """Take the arguments."""
        super().init(path, use_flow_dir)


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

    files = ("requirements.txt", "requirements.in")

    def init(self, path: str | None = None, use_flow_dir: bool | None = None) -> None:
        """Take the arguments."""
        super().init(path, use_flow_dir)
