"""Import paths that flows and other extensions know from metaflow-netflixext (contract, section 13).

They lead here only where that extension is not installed. Nothing is imported before it is asked for. Every module is
found as a package without a directory: so `from MODULE import NAME` asks the finder for a name that the module does not
have, and is told why. Standard library, 3.7.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any, Sequence

from asynccache.node.other_extension import DISTRIBUTION, ROOT, other_extension

_TOPS = ("netflixext", "netflix_ext", "nflx")
_PROMOTED = ("plugins.conda", "plugins.huggingface")  # what can also be imported below `metaflow`
_PACKAGES = ("", "plugins", "plugins.conda")
_OURS = "asynccache.metaflow."
_VALUES = dict.fromkeys(["AliasType", "EnvID", "EnvType", "TStr", "dict_to_tstr", "tstr_to_dict"], _OURS + "values")
_PACKAGE_VALUES = dict.fromkeys(
    ["CachePackage", "CondaCachePackage", "CondaPackageSpecification", "PackageSpecification", "PypiCachePackage",
     "PypiPackageSpecification"],
    _OURS + "package_values",
)  # fmt: skip
_ENVIRONMENT = {"ResolvedEnvironment": _OURS + "environment_values"}
_FUNCTIONS = dict.fromkeys(
    ["call_binary", "channel_or_url", "is_alias_mutable", "resolve_env_alias"], _OURS + "other_functions"
)
_ERRORS = dict.fromkeys(["CondaException", "CondaStepException"], _OURS + "errors")
_ARCHITECTURE = {"arch_id": _OURS + "architecture"}
_PARSERS = dict.fromkeys(
    ["parse_req_value", "parse_toml_value", "parse_yml_value", "req_parser", "toml_parser", "yml_parser"],
    _OURS + "parsers",
)
_CONDA = {"Conda": _OURS + "conda"}
_RUNNER = dict.fromkeys(["RunnerCLI", "StepEnvInfo"], _OURS + "runner")
_PROVIDER = {"HuggingFaceAuthProvider": _OURS + "huggingface.auth"}
_HUGGINGFACE = dict.fromkeys(["HuggingFaceContext", "HuggingFaceDecorator"], _OURS + "huggingface.decorator")
# path below the extension -> name -> where it is, or (where, what it is called there)
_NAMES: dict[str, dict[str, Any]] = {
    "plugins.conda.conda": {**_CONDA, **_VALUES, **_ENVIRONMENT, **_FUNCTIONS, **_ERRORS, **_ARCHITECTURE},
    "plugins.conda.conda_environment": {"CondaEnvironment": _OURS + "environment"},
    "plugins.conda.conda_flow_mutator": {
        "ResolvedReqFlowDecorator": (_OURS + "mutators", "resolved_req"),
        "ResolvedUVEnvFlowDecorator": (_OURS + "mutators", "resolved_uv"),
        "call_binary": _OURS + "other_functions",
    },
    "plugins.conda.env_descr": {**_VALUES, **_PACKAGE_VALUES, **_ENVIRONMENT},
    "plugins.conda.parsers": _PARSERS,
    "plugins.conda.remote_bootstrap": {"main": _OURS + "remote_bootstrap"},
    "plugins.conda.utils": {**_ERRORS, **_ARCHITECTURE, **_FUNCTIONS, **_VALUES},
    "plugins.environment_cli": {"cli": _OURS + "flow_commands", **_RUNNER},
    "plugins.huggingface": {**_PROVIDER, **_HUGGINGFACE},
    "plugins.huggingface.auth": _PROVIDER,
    "plugins.huggingface.huggingface_decorator": _HUGGINGFACE,
}
_RESOLVING = "asynccache resolves by `asynccache.api.Session.resolve`"
# path below the extension -> what there is instead
_NOT_GIVEN = {
    "cmd": "its commands are asynccache's own, `metaflow environment`",
    "config": "its variables are in `metaflow.metaflow_config`",
    "toplevel": "its names can be imported from `metaflow`",
    "plugins.conda.conda_common_decorator": "decorators are asynccache's own, `from metaflow import conda, pypi`",
    "plugins.conda.conda_flow_decorator": "decorators are asynccache's own, `from metaflow import conda_base`",
    "plugins.conda.conda_step_decorator": "decorators are asynccache's own, `from metaflow import conda, pypi`",
    "plugins.conda.conda_lock_micromamba_server": _RESOLVING,
    "plugins.conda.envsresolver": _RESOLVING,
    "plugins.conda.pypi_package_builder": _RESOLVING,
    "plugins.conda.resolvers": _RESOLVING,
}


class OtherNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by their other names; what they hold is imported when it is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a module is, None if it is not one of these.

        Raises:
            ImportError: It is one of the extension's, and asynccache has nothing to give under its name.
        """
        below = _below(fullname)
        if below is None or other_extension_installed():
            return None
        if below in _PACKAGES or below in _NAMES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        parent = below.rpartition(".")[0]
        known = [path for path in _NOT_GIVEN if below == path or below.startswith(path + ".")]
        if known or parent in _NAMES:
            instead = _NOT_GIVEN[known[0]] if known else f"{parent} has {', '.join(sorted(_NAMES[parent]))} here"
            raise ImportError(
                f"{fullname} is of {DISTRIBUTION}, and asynccache, which takes its place, does not give it: {instead}",
                name=fullname,
            )
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Let the module's names be found."""
        below = _below(module.__name__) or ""
        names = _NAMES.get(below, {})
        modules = {
            path.rpartition(".")[2] for path in (*_PACKAGES, *_NAMES) if path and path.rpartition(".")[0] == below
        }

        def lookup(name: str) -> Any:
            if name in names:
                place = names[name]
                where, called = (place, name) if isinstance(place, str) else place
                return getattr(importlib.import_module(where), called)
            if name in modules:
                return importlib.import_module(f"{module.__name__}.{name}")
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__dict__["__getattr__"] = lookup
        module.__dict__["__all__"] = list(names)


def install() -> None:
    """Make the names importable."""
    if not any(isinstance(finder, OtherNames) for finder in sys.meta_path):
        sys.meta_path.append(OtherNames())


def other_extension_installed() -> bool:
    """Return whether the extension is there whose names these are."""
    package = sys.modules.get(ROOT) or importlib.import_module(ROOT)
    return other_extension(package.__path__) is not None


def _below(fullname: str) -> str | None:
    parts = fullname.split(".")
    below = ".".join(parts[2:]) if parts[0] == ROOT else ".".join(parts[1:])
    if parts[0] == ROOT and len(parts) > 1 and parts[1] in _TOPS:
        return below
    promoted = parts[0] == "metaflow" and any(below == each or below.startswith(each + ".") for each in _PROMOTED)
    return below if promoted else None
