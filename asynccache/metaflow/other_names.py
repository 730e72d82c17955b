"""Import paths that flows and other extensions know from metaflow-netflixext (contract, section 13).

They lead here only where that extension is not installed: the finder comes after all others. Standard library, 3.7.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any, Sequence

ROOT = "metaflow_extensions"
_TOPS = ("netflixext", "netflix_ext", "nflx")
_PACKAGES = ("", "plugins", "plugins.conda")
# path below the extension -> name -> where it is
_NAMES: dict[str, dict[str, str]] = {
    "plugins.conda.conda_environment": {"CondaEnvironment": "asynccache.metaflow.environment"},
    "plugins.conda.parsers": dict.fromkeys(["req_parser", "yml_parser", "toml_parser"], "asynccache.metaflow.parsers"),
    "plugins.conda.utils": {
        "CondaException": "asynccache.metaflow.errors",
        "CondaStepException": "asynccache.metaflow.errors",
        "arch_id": "asynccache.metaflow.architecture",
    },
    "plugins.conda.env_descr": {
        "EnvID": "asynccache.model.identity",
        "ResolvedEnvironment": "asynccache.model.environment",
    },
    "plugins.conda.remote_bootstrap": {"main": "asynccache.metaflow.remote_bootstrap"},
    "plugins.environment_cli": {
        "cli": "asynccache.metaflow.flow_commands",
        "RunnerCLI": "asynccache.metaflow.runner",
        "StepEnvInfo": "asynccache.metaflow.runner",
    },
}


class OtherNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by their other names; what they hold is imported when it is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a module is, None when it is not one of these."""
        below = _below(fullname)
        if below is None or (below not in _PACKAGES and below not in _NAMES):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=below in _PACKAGES)

    def exec_module(self, module: ModuleType) -> None:
        """Let the module's names be found."""
        names = _NAMES.get(_below(module.__name__) or "", {})

        def lookup(name: str) -> Any:
            if name not in names:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(importlib.import_module(names[name]), name)

        module.__dict__["__getattr__"] = lookup
        module.__dict__["__all__"] = list(names)


def install() -> None:
    """Make the names importable."""
    if not any(isinstance(finder, OtherNames) for finder in sys.meta_path):
        sys.meta_path.append(OtherNames())


def other_extension_installed() -> bool:
    """Tell whether the extension is there whose names these are."""
    package = sys.modules.get(ROOT) or importlib.import_module(ROOT)
    return importlib.machinery.PathFinder.find_spec(f"{ROOT}.netflixext", list(package.__path__)) is not None


def _below(fullname: str) -> str | None:
    parts = fullname.split(".")
    if len(parts) < 2 or parts[0] != ROOT or parts[1] not in _TOPS:
        return None
    return ".".join(parts[2:])
