"""The decorators that say what environment a step has (contract, section 7.1).

They only hold what was written; `ask()` reads it where a flow is launched. Standard library, Metaflow, Python 3.7.
"""

from __future__ import annotations

from typing import Any

from metaflow.decorators import FlowDecorator, StepDecorator
from metaflow.metaflow_environment import InvalidEnvironmentException

from asynccache.metaflow.decorator_arguments import (
    Arguments,
    CondaArguments,
    NamedEnvArguments,
    PipArguments,
    PylockTomlArguments,
    PypiArguments,
    SysPackagesArguments,
)


class StepRequirement(Arguments, StepDecorator):
    """One of these decorators on a step."""

    allow_multiple = True

    def step_init(self, flow: Any, graph: Any, step: str, decos: Any, environment: Any, *_more: Any) -> None:
        """Refuse to be ignored."""
        require_environment(environment, self.name, step)


class FlowRequirement(Arguments, FlowDecorator):
    """One of these decorators on a flow."""

    allow_multiple = True

    def flow_init(self, flow: Any, graph: Any, environment: Any, *_more: Any) -> None:
        """Refuse to be ignored."""
        require_environment(environment, self.name)


def require_environment(environment: Any, decorator: str, step: str = "") -> None:
    """Refuse another environment than ours; says of which step's decorator.

    Raises:
        InvalidEnvironmentException: It is another one.
    """
    from asynccache.metaflow.environment import CondaEnvironment  # noqa: PLC0415 - it imports this module

    if not isinstance(environment, CondaEnvironment):
        raise InvalidEnvironmentException(
            "{}The @{} decorator requires --environment=conda; this runs with --environment={}".format(
                f"Step '{step}': " if step else "", decorator, getattr(environment, "TYPE", environment)
            )
        )


class CondaStepDecorator(CondaArguments, StepRequirement):
    """
    Conda packages of a step, on top of those of `@conda_base`.

    Parameters
    ----------
    libraries : dict[str, str], default {}
        Name -> constraint; a name may carry a channel: `comet_ml::comet_ml`.
    packages : dict[str, str], default {}
        The same, by the name that Metaflow's own decorator has for it.
    channels : list[str], default []
        Channels that come before the configured ones, the first one first.
    python : str, optional, default None
        Constraint of Python; by default the minor version that launches the flow.
    disabled : bool, optional, default None
        Run the step outside of any environment.
    sources : list[str], default []
        Deprecated: `channels`.
    pip_packages : dict[str, str], default {}
        Deprecated: `@pypi(packages=...)`.
    pip_sources : list[str], default []
        Deprecated: `@pypi(extra_indices=...)`.
    name : str, optional, default None
        Deprecated: `@named_env(name=...)`.
    pathspec : str, optional, default None
        Deprecated: `@named_env(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: `@named_env(fetch_at_exec=...)`.
    """

    name = "conda"


class CondaFlowDecorator(CondaArguments, FlowRequirement):
    """
    Conda packages of all steps of a flow; takes what `@conda` takes.

    Parameters
    ----------
    libraries : dict[str, str], default {}
        Name -> constraint; a name may carry a channel: `comet_ml::comet_ml`.
    packages : dict[str, str], default {}
        The same, by the name that Metaflow's own decorator has for it.
    channels : list[str], default []
        Channels that come before the configured ones, the first one first.
    python : str, optional, default None
        Constraint of Python; by default the minor version that launches the flow.
    disabled : bool, optional, default None
        Run the steps outside of any environment.
    """

    name = "conda_base"


class PypiStepDecorator(PypiArguments, StepRequirement):
    """
    PyPI packages of a step, on top of those of `@pypi_base`.

    Parameters
    ----------
    packages : dict[str, str], default {}
        Name -> constraint; a name may carry `[extras]` or `@URL`.
    conda_only : dict[str, str], default {}
        Conda packages that need no Python, such as `ffmpeg`.
    extra_indices : list[str], default []
        Indexes besides the configured ones.
    extras : list[str], default []
        Flags of the resolver without their dashes, such as `["pre"]`.
    python : str, optional, default None
        Constraint of Python; by default the minor version that launches the flow.
    disabled : bool, optional, default None
        Run the step outside of any environment.
    sources : list[str], default []
        Deprecated: `extra_indices`.
    name : str, optional, default None
        Deprecated: `@named_env(name=...)`.
    pathspec : str, optional, default None
        Deprecated: `@named_env(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: `@named_env(fetch_at_exec=...)`.
    """

    name = "pypi"


class PypiFlowDecorator(PypiArguments, FlowRequirement):
    """
    PyPI packages of all steps of a flow; takes what `@pypi` takes.

    Parameters
    ----------
    packages : dict[str, str], default {}
        Name -> constraint; a name may carry `[extras]` or `@URL`.
    conda_only : dict[str, str], default {}
        Conda packages that need no Python, such as `ffmpeg`.
    extra_indices : list[str], default []
        Indexes besides the configured ones.
    extras : list[str], default []
        Flags of the resolver without their dashes, such as `["pre"]`.
    python : str, optional, default None
        Constraint of Python; by default the minor version that launches the flow.
    disabled : bool, optional, default None
        Run the steps outside of any environment.
    """

    name = "pypi_base"


class PipStepDecorator(PipArguments, StepRequirement):
    """Deprecated: `@pypi`, whose arguments it takes."""

    name = "pip"


class PipFlowDecorator(PipArguments, FlowRequirement):
    """Deprecated: `@pypi_base`, whose arguments it takes."""

    name = "pip_base"


class NamedEnvStepDecorator(NamedEnvArguments, StepRequirement):
    """
    An environment by its name; with other decorators it is extended.

    Parameters
    ----------
    name : str, optional, default None
        `team/project/environment:tag`, or both ids.
    pathspec : str, optional, default None
        `Flow/Run/Step`, whose environment is used.
    fetch_at_exec : bool, optional, default None
        Look the name up when the task starts; `@{VARIABLE}` in it is replaced.
    disabled : bool, optional, default None
        Run the step outside of any environment.
    """

    name = "named_env"


class NamedEnvFlowDecorator(NamedEnvArguments, FlowRequirement):
    """
    An environment by its name, for all steps of a flow.

    Parameters
    ----------
    name : str, optional, default None
        `team/project/environment:tag`, or both ids.
    pathspec : str, optional, default None
        `Flow/Run/Step`, whose environment is used.
    fetch_at_exec : bool, optional, default None
        Look the name up when the task starts; `@{VARIABLE}` in it is replaced.
    disabled : bool, optional, default None
        Run the steps outside of any environment.
    """

    name = "named_env_base"


class SysPackagesStepDecorator(SysPackagesArguments, StepRequirement):
    """
    Virtual packages that a step counts on.

    Parameters
    ----------
    packages : dict[str, str], optional, default None
        `__cuda` and `__glibc` -> version.
    disabled : bool, optional, default None
        Run the step outside of any environment.
    """

    name = "sys_packages"


class SysPackagesFlowDecorator(SysPackagesArguments, FlowRequirement):
    """
    Virtual packages that all steps of a flow count on.

    Parameters
    ----------
    packages : dict[str, str], optional, default None
        `__cuda` and `__glibc` -> version.
    disabled : bool, optional, default None
        Run the steps outside of any environment.
    """

    name = "sys_packages_base"


class PylockTomlStepDecorator(PylockTomlArguments, StepRequirement):
    """What a lock file says; added by `@resolved_uv` and `@resolved_req`."""

    name = "pylock_toml_internal"
