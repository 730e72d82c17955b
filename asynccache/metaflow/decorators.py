"""The decorators that say what environment a step has (contract, section 7.1).

They only hold what was written; `ask()` reads it where a flow is launched. Standard library, Metaflow, Python 3.7.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

from metaflow.decorators import FlowDecorator, StepDecorator
from metaflow.metaflow_environment import InvalidEnvironmentException

from asynccache.metaflow.merge import Ask, AskError, checked

_NAMED: dict[str, Any] = {"name": None, "pathspec": None, "fetch_at_exec": None}
_CONDA: dict[str, Any] = {
    "libraries": {},
    "packages": {},
    "channels": [],
    "sources": [],
    "python": None,
    "disabled": None,
    "pip_packages": {},
    "pip_sources": [],
    **_NAMED,
}
_PYPI: dict[str, Any] = {
    "packages": {},
    "conda_only": {},
    "extra_indices": [],
    "extras": [],
    "python": None,
    "disabled": None,
    "sources": [],
    **_NAMED,
}
# argument -> what to write instead
_CONDA_DEPRECATED = {
    "pip_packages": "@pypi(packages=...)",
    "pip_sources": "@pypi(extra_indices=...)",
    "sources": "@conda(channels=...)",
    "fetch_at_exec": "@named_env(fetch_at_exec=...)",
    "name": "@named_env(name=...)",
    "pathspec": "@named_env(pathspec=...)",
}
_PYPI_DEPRECATED = {
    "sources": "@pypi(extra_indices=...)",
    "fetch_at_exec": "@named_env(fetch_at_exec=...)",
    "name": "@named_env(name=...)",
    "pathspec": "@named_env(pathspec=...)",
}
Canonical = Callable[[str], str]
"""A version as ids have it: `1.4.0` becomes `1.4`."""


class Requirement:
    """What all of these decorators share, of a step and of a flow.

    Attributes:
        deprecated: Argument -> the new form.
    """

    name = ""
    attributes: dict[str, Any] = {}
    deprecated: dict[str, str] = {}

    def ask(self, canonical: Canonical) -> Ask:
        """Return what is asked for.

        Raises:
            InvalidEnvironmentException: The arguments contradict each other, or one has a type it cannot have.
        """
        try:
            return checked(self._ask(canonical), self.name)
        except AskError as error:
            raise InvalidEnvironmentException(str(error)) from error

    def notice(self) -> str | None:
        """Return what the user should write instead of deprecated arguments, None when there is none."""
        used = [name for name in self.deprecated if self.attributes.get(name)]
        if not used:
            return None
        return "*DEPRECATED*: Using '{}' in '@{}' is deprecated. Please use {} instead.".format(
            "', '".join(used), self.name, " and ".join(dict.fromkeys(self._new_form(name) for name in used))
        )

    def _new_form(self, argument: str) -> str:
        form = self.deprecated[argument]
        return form.replace("(", "_base(", 1) if self.name.endswith("_base") else form

    def _ask(self, canonical: Canonical) -> Ask:
        raise NotImplementedError

    def _map(self, argument: str) -> dict[str, str]:
        value = self.attributes.get(argument) or {}
        if not isinstance(value, dict):
            raise AskError(f"@{self.name}({argument}=...) takes a map such as {{'pandas': '1.4.0'}}, not {value!r}")
        return {str(name): "" if text is None else str(text) for name, text in value.items()}

    def _list(self, *arguments: str) -> tuple[str, ...]:
        values: list[str] = []
        for argument in arguments:
            value = self.attributes.get(argument) or ()
            if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
                raise AskError(f"@{self.name}({argument}=...) takes a list of texts, not {value!r}")
            values.extend(str(each) for each in value)
        return tuple(dict.fromkeys(values))

    def _versions(self, argument: str, canonical: Canonical) -> dict[str, str]:
        return {name: canonical(text) for name, text in self._map(argument).items()}

    def _named(self, canonical: Canonical) -> dict[str, Any]:
        attributes = self.attributes
        pathspec = attributes.get("pathspec")
        if pathspec and str(pathspec).startswith("step:"):
            pathspec = str(pathspec)[len("step:") :]
        python = attributes.get("python")
        return {
            "name": attributes.get("name") or None,
            "pathspec": pathspec or None,
            "fetch_at_exec": attributes.get("fetch_at_exec"),
            "python": canonical(str(python)) if python else None,
            "disabled": _flag(attributes.get("disabled")),
        }


class _Conda(Requirement):
    deprecated = _CONDA_DEPRECATED

    def _ask(self, canonical: Canonical) -> Ask:
        packages = {
            "conda": {**self._map("libraries"), **self._map("packages")},
            "pypi": self._pip_packages(canonical),
        }
        named = self._named(canonical)
        named["disabled"] = bool(named["disabled"])
        sources = {"conda": self._list("channels", "sources"), "pypi": self._list("pip_sources")}
        return Ask(packages=packages, sources=sources, **named)

    def _pip_packages(self, canonical: Canonical) -> dict[str, str]:
        value = self.attributes.get("pip_packages")
        if not isinstance(value, (list, tuple)):
            return self._versions("pip_packages", canonical)
        packages = {}
        for line in value:  # the documentation shows it as a list, too
            name, equal, version = str(line).partition("==")
            if not equal and set(name) & set("<>!~= "):
                raise AskError(f"@{self.name}(pip_packages=...) has {line!r}, which is no NAME==VERSION")
            packages[name.strip()] = canonical(version.strip())
        return packages


class _Pypi(Requirement):
    deprecated = _PYPI_DEPRECATED

    def _ask(self, canonical: Canonical) -> Ask:
        packages = {"pypi": self._versions("packages", canonical), "npconda": self._versions("conda_only", canonical)}
        named = self._named(canonical)
        named["disabled"] = bool(named["disabled"])
        sources = {"pypi": self._list("extra_indices", "sources")}
        return Ask(packages=packages, sources=sources, extras=self._flags(), **named)

    def _flags(self) -> Sequence[str]:
        value = self.attributes.get("extras") or ()
        if isinstance(value, dict):  # as the parser of requirements.txt returns them
            value = value.get("pypi") or ()
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise AskError(f"@{self.name}(extras=...) takes a list such as ['pre'], not {value!r}")
        return tuple(flag if str(flag).startswith("-") else f"--{flag}" for flag in value)


class _Pip(_Pypi):
    def notice(self) -> str | None:
        new = "@pypi_base" if self.name.endswith("_base") else "@pypi"
        return f"*DEPRECATED*: Using '@{self.name}' is deprecated. Please use '{new}' instead."


class _NamedEnv(Requirement):
    def _ask(self, canonical: Canonical) -> Ask:
        named = self._named(canonical)
        if named["disabled"] is None and (named["name"] or named["pathspec"]):
            named["disabled"] = False
        return Ask(**named)


class _SysPackages(Requirement):
    def _ask(self, canonical: Canonical) -> Ask:
        packages = self._map("packages")
        for name, version in packages.items():
            if name not in {"__cuda", "__glibc"}:
                raise AskError(
                    f"@{self.name} has '{name}': virtual packages that can be asked for are '__cuda' and '__glibc'"
                )
            if not version:
                raise AskError(f"@{self.name} names '{name}' without a version, which it needs")
        disabled = _flag(self.attributes.get("disabled"))
        return Ask(packages={"sys": packages}, disabled=False if disabled is None and packages else disabled)


class _PylockToml(Requirement):
    def _ask(self, canonical: Canonical) -> Ask:
        wanted = self._versions("user_deps_for_hash", canonical)
        python = wanted.get("python")
        path = self.attributes.get("path")
        return Ask(
            packages={"pypi": wanted},
            sources={"pypi": self._list("user_sources_for_hash")},
            python=python or None,
            disabled=bool(_flag(self.attributes.get("disabled"))),
            files=(str(path),) if path else (),
            unique_keys=self._map("full_id_unique_keys"),
        )


class StepRequirement(Requirement, StepDecorator):
    """One of these decorators on a step."""

    allow_multiple = True

    def step_init(
        self, flow: Any, graph: Any, step: str, decos: Any, environment: Any, flow_datastore: Any, logger: Any
    ) -> None:
        """Refuse to be ignored."""
        require_environment(environment, self.name)


class FlowRequirement(Requirement, FlowDecorator):
    """One of these decorators on a flow."""

    allow_multiple = True

    def flow_init(
        self,
        flow: Any,
        graph: Any,
        environment: Any,
        flow_datastore: Any,
        metadata: Any,
        logger: Any,
        echo: Any,
        options: Any,
    ) -> None:
        """Refuse to be ignored."""
        require_environment(environment, self.name)


def require_environment(environment: Any, decorator: str) -> None:
    """Refuse another environment than ours.

    Raises:
        InvalidEnvironmentException: It is another one.
    """
    from asynccache.metaflow.environment import CondaEnvironment  # noqa: PLC0415 - it imports this module

    if not isinstance(environment, CondaEnvironment):
        raise InvalidEnvironmentException(
            "The @{} decorator requires --environment=conda; this runs with --environment={}".format(
                decorator, getattr(environment, "TYPE", environment)
            )
        )


class CondaStepDecorator(_Conda, StepRequirement):
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
    defaults = dict(_CONDA)


class CondaFlowDecorator(_Conda, FlowRequirement):
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
    defaults = dict(_CONDA)


class PypiStepDecorator(_Pypi, StepRequirement):
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
    defaults = dict(_PYPI)


class PypiFlowDecorator(_Pypi, FlowRequirement):
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
    defaults = dict(_PYPI)


class PipStepDecorator(_Pip, StepRequirement):
    """Deprecated: `@pypi`, whose arguments it takes."""

    name = "pip"
    defaults = dict(_PYPI)


class PipFlowDecorator(_Pip, FlowRequirement):
    """Deprecated: `@pypi_base`, whose arguments it takes."""

    name = "pip_base"
    defaults = dict(_PYPI)


class NamedEnvStepDecorator(_NamedEnv, StepRequirement):
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
    defaults = {**_NAMED, "disabled": None}


class NamedEnvFlowDecorator(_NamedEnv, FlowRequirement):
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
    defaults = {**_NAMED, "disabled": None}


class SysPackagesStepDecorator(_SysPackages, StepRequirement):
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
    defaults = {"packages": None, "disabled": None}


class SysPackagesFlowDecorator(_SysPackages, FlowRequirement):
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
    defaults = {"packages": None, "disabled": None}


class PylockTomlStepDecorator(_PylockToml, StepRequirement):
    """What a lock file says; added by `@resolved_uv` and `@resolved_req`."""

    name = "pylock_toml_internal"
    defaults: dict[str, Any] = {
        "path": None,
        "disabled": None,
        "user_deps_for_hash": {},
        "user_sources_for_hash": [],
        "full_id_unique_keys": {},
    }


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):  # as --with passes it
        return value.strip().lower() not in {"", "0", "false", "none"}
    return None if value is None else bool(value)
