"""Settings of the engine out of Metaflow's configuration, where flows are launched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from asynccache.config import LoadedSettings, Settings, load_settings

ROOTS: Final = {"s3": "S3", "azure": "AZURE", "gs": "GS", "local": "LOCAL"}
# name in Metaflow's configuration -> field; what has a default there counts only when it is changed
_FIELDS: Final = {
    "CONDA_DEPENDENCY_RESOLVER": "conda_dependency_resolver",
    "CONDA_PYPI_DEPENDENCY_RESOLVER": "pypi_dependency_resolver",
    "CONDA_MIXED_DEPENDENCY_RESOLVER": "mixed_dependency_resolver",
    "CONDA_LOCK_TIMEOUT": "lock_timeout",
    "CONDA_PACKAGES_DIRNAME": "packages_dirname",
    "CONDA_ENVS_DIRNAME": "envs_dirname",
    "CONDA_MAGIC_FILE_V2": "manifest_name",
    "CONDA_LOCAL_DIST": "local_dist",
    "CONDA_LOCAL_DIST_DIRNAME": "local_dist_dirname",
    "CONDA_LOCAL_PATH": "conda_local_path",
    "CONDA_PREFERRED_FORMAT": "preferred_format",
    "CONDA_DEFAULT_PYPI_SOURCE": "default_pypi_source",
    "CONDA_SRCS_AUTH_INFO": "auth",
    "CONDA_SYS_DEFAULT_PACKAGES": "sys_default_packages",
    "CONDA_SYS_DEFAULT_GPU_PACKAGES": "sys_default_gpu_packages",
    "CONDA_SYS_MARKERS": "sys_markers",
    "CONDA_BUILDER_ENV_PACKAGES": "builder_env_packages",
    "CONDA_ALL_ARCHS": "all_archs",
    "CONDA_USE_REMOTE_LATEST": "use_remote_latest",
    "CONDA_HACK_CHANNEL_ALIAS": "hack_channel_alias",
    "CONDA_PACK": "pack",
    "CONDA_REMOTE_INSTALLER": "remote_installer",
    "CONDA_REMOTE_INSTALLER_DIRNAME": "remote_installer_dirname",
    "S3_ENDPOINT_URL": "s3_endpoint_url",
}


def launch_settings(datastore_type: str, flags: dict[str, object] | None = None) -> LoadedSettings:
    """Return the settings for a datastore.

    Args:
        datastore_type: `local`, `s3`, `azure` or `gs`: which root holds the cache.
        flags: Field -> value that comes before everything else; None values do not count.

    Raises:
        ConfigurationError: A value that a setting cannot have.
    """
    from metaflow import metaflow_config  # noqa: PLC0415 - this module is also imported by tests without it

    values = {name: getattr(metaflow_config, name, None) for name in _FIELDS}
    found: dict[str, object] = {
        _FIELDS[name]: value for name, value in values.items() if value is not None and _changed(name)
    }
    root = getattr(metaflow_config, f"CONDA_{ROOTS.get(datastore_type, 'LOCAL')}ROOT", None)
    if root:
        found["store"] = root
    local = getattr(metaflow_config, "DATASTORE_SYSROOT_LOCAL", None)
    if local:
        found["datastore_root"] = Path(local)
    known = Settings.__dataclass_fields__
    own = {name for name in found if os.environ.get(f"ASYNCCACHE_{name.upper()}")}
    given = {name: value for name, value in found.items() if name in known and name not in own}
    return load_settings({**given, **{n: v for n, v in (flags or {}).items() if v is not None}})


def _changed(name: str) -> bool:
    """Tell whether a variable was set anywhere: only then it comes before asynccache's own configuration."""
    from metaflow.metaflow_config_funcs import config_values  # noqa: PLC0415

    changed: dict[str, Any] = dict(config_values())
    return f"METAFLOW_{name}" in changed
