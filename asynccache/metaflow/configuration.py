"""The variables that the extension adds to `metaflow.metaflow_config` (contract, section 8).

Each is read by Metaflow's own `from_conf`: environment variable `METAFLOW_<NAME>`, the project's configuration, the
user's, the default. Only what is read so travels to tasks. Nothing but standard library and Metaflow is imported.
"""

from __future__ import annotations

import os
import re
from typing import Any, Callable

REMOTE_LATEST = (":none:", ":username:", ":any:")
_CHOICES = {
    "CONDA_DEPENDENCY_RESOLVER": ["mamba", "conda", "micromamba", "rattler"],
    "CONDA_PYPI_DEPENDENCY_RESOLVER": ["uv", "pip", "none"],
    "CONDA_MIXED_DEPENDENCY_RESOLVER": ["conda-lock", "builtin", "none"],
    "PYLOCK_TOML_DEPENDENCY_RESOLVER": ["pylock_toml"],
    "CONDA_PREFERRED_FORMAT": [".conda", ".tar.bz2", "none"],
    "CONDA_PACK": ["auto", "always", "never"],
}
# null in a configuration file switches these off, as the documentation shows it
_NULLABLE = ("CONDA_PYPI_DEPENDENCY_RESOLVER", "CONDA_MIXED_DEPENDENCY_RESOLVER")


def configuration() -> dict[str, Any]:
    """Return the variables.

    Raises:
        MetaflowException: A variable has a value it cannot have; names the allowed ones.
        ValueError: A list or map is not written as JSON, a number not as one.
    """
    from metaflow import metaflow_config_funcs as functions  # noqa: PLC0415 - Metaflow is being imported
    from metaflow.metaflow_config_funcs import from_conf  # noqa: PLC0415

    bare = accept_bare_keys(functions.METAFLOW_CONFIG, functions.METAFLOW_LOCAL_CONFIG)
    glibc = os.environ.get("CONDA_OVERRIDE_GLIBC") or "2.27"
    google = ["keyrings.google-artifactregistry-auth"] if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") else []

    def choice(name: str, default: str) -> str:
        value: str = from_conf(name, default, validate_fn=_validate_choice(_CHOICES[name]))
        return value

    return {
        "CONDA_S3ROOT": from_conf("CONDA_S3ROOT", _below("S3")),
        "CONDA_AZUREROOT": from_conf("CONDA_AZUREROOT", _below("AZURE")),
        "CONDA_GSROOT": from_conf("CONDA_GSROOT", _below("GS")),
        "CONDA_LOCALROOT": from_conf("CONDA_LOCALROOT", _below("LOCAL")),
        "CONDA_MAGIC_FILE_V2": from_conf("CONDA_MAGIC_FILE_V2", "conda_v2.cnd"),
        "CONDA_DEPENDENCY_RESOLVER": choice("CONDA_DEPENDENCY_RESOLVER", "mamba"),
        "CONDA_PYPI_DEPENDENCY_RESOLVER": choice("CONDA_PYPI_DEPENDENCY_RESOLVER", "uv"),
        "CONDA_MIXED_DEPENDENCY_RESOLVER": choice("CONDA_MIXED_DEPENDENCY_RESOLVER", "conda-lock"),
        "PYLOCK_TOML_DEPENDENCY_RESOLVER": choice("PYLOCK_TOML_DEPENDENCY_RESOLVER", "pylock_toml"),
        "CONDA_LOCK_TIMEOUT": from_conf("CONDA_LOCK_TIMEOUT", 3600),
        "CONDA_PACKAGES_DIRNAME": from_conf("CONDA_PACKAGES_DIRNAME", "packages"),
        "CONDA_ENVS_DIRNAME": from_conf("CONDA_ENVS_DIRNAME", "envs"),
        "CONDA_REMOTE_INSTALLER_DIRNAME": from_conf("CONDA_REMOTE_INSTALLER_DIRNAME"),
        "CONDA_REMOTE_INSTALLER": from_conf("CONDA_REMOTE_INSTALLER") or None,
        "CONDA_LOCAL_DIST_DIRNAME": from_conf("CONDA_LOCAL_DIST_DIRNAME"),
        "CONDA_LOCAL_DIST": from_conf("CONDA_LOCAL_DIST"),
        "CONDA_LOCAL_PATH": from_conf("CONDA_LOCAL_PATH"),
        "CONDA_PREFERRED_FORMAT": choice("CONDA_PREFERRED_FORMAT", "none"),
        "CONDA_PACK": choice("CONDA_PACK", "auto"),
        "CONDA_DEFAULT_PYPI_SOURCE": from_conf("CONDA_DEFAULT_PYPI_SOURCE"),
        "CONDA_SRCS_AUTH_INFO": from_conf("CONDA_SRCS_AUTH_INFO", {}),
        "CONDA_REMOTE_COMMANDS": from_conf("CONDA_REMOTE_COMMANDS", ["batch", "kubernetes"]),
        "CONDA_SYS_DEPENDENCIES": ("__cuda", "__glibc"),
        "CONDA_SYS_DEFAULT_PACKAGES": from_conf("CONDA_SYS_DEFAULT_PACKAGES", {"linux-64": {"__glibc": glibc}}),
        "CONDA_SYS_DEFAULT_GPU_PACKAGES": from_conf("CONDA_SYS_DEFAULT_GPU_PACKAGES", {}),
        "CONDA_SYS_MARKERS": from_conf("CONDA_SYS_MARKERS", {}),
        "CONDA_BUILDER_ENV_PACKAGES": from_conf("CONDA_BUILDER_ENV_PACKAGES", google),
        "CONDA_ALL_ARCHS": from_conf("CONDA_ALL_ARCHS", ["linux-64", "osx-64", "osx-arm64"]),
        "CONDA_USE_REMOTE_LATEST": from_conf("CONDA_USE_REMOTE_LATEST", ":none:", validate_fn=_validate_remote_latest),
        "CONDA_IGNORE_CACHING_DATASTORES": from_conf("CONDA_IGNORE_CACHING_DATASTORES", []),
        "CONDA_HACK_CHANNEL_ALIAS": from_conf("CONDA_HACK_CHANNEL_ALIAS"),
        "CONDA_TEST": from_conf("CONDA_TEST", False),
        "HUGGINGFACE_AUTH_PROVIDER": from_conf("HUGGINGFACE_AUTH_PROVIDER", "env"),
        "HUGGINGFACE_AUTH_PROVIDERS": from_conf("HUGGINGFACE_AUTH_PROVIDERS", {}),
        "HUGGINGFACE_ENDPOINT": from_conf("HUGGINGFACE_ENDPOINT"),
        "HUGGINGFACE_LOCAL_DIR": from_conf("HUGGINGFACE_LOCAL_DIR"),
        "HUGGINGFACE_DOWNLOAD_TIMEOUT": from_conf(
            "HUGGINGFACE_DOWNLOAD_TIMEOUT", 300, validate_fn=_validate_positive_integer
        ),
        "CONDA_BARE_KEYS": bare,
    }


def accept_bare_keys(*tables: Any) -> list[str]:
    """Let keys of configuration files that lack `METAFLOW_` count, and return them.

    Metaflow reads only keys with the prefix; documentation of the extension shows them without.
    """
    found = []
    for table in tables:
        for key in [k for k in table or () if k.startswith("CONDA_")]:
            if "METAFLOW_" + key not in table:
                table["METAFLOW_" + key] = table[key]
                found.append(key)
        for name in _NULLABLE:
            if table and table.get("METAFLOW_" + name, "") is None:
                table["METAFLOW_" + name] = "none"
    return sorted(set(found))


def _below(datastore: str) -> Any:
    from metaflow import metaflow_config  # noqa: PLC0415 - is being imported, these names are there

    root = getattr(metaflow_config, "DATASTORE_SYSROOT_" + datastore, None)
    return root.rstrip("/") + "/conda_env" if root else None


def _validate_choice(allowed: list[str]) -> Callable[[str, Any], None]:
    def validate(name: str, value: Any) -> None:
        if value not in allowed:
            _refuse(f"{name} must be set to one of {allowed}. Got '{value}'.")

    return validate


def _validate_remote_latest(name: str, value: Any) -> None:
    words = [word.strip() for word in str(value).split(",")]
    alone = len(words) > 1 and (":none:" in words or ":any:" in words)
    if not all(words) or alone or any(word.startswith(":") and word not in REMOTE_LATEST for word in words):
        _refuse(
            f"{name} must be set to one of {list(REMOTE_LATEST)} or to user names with commas between them."
            f" Got '{value}'."
        )


def _validate_positive_integer(name: str, value: Any) -> None:
    if not re.fullmatch(r"0*[1-9][0-9]*", str(value).strip()):
        _refuse(f"{name} must be a positive integer. Got '{value}'.")


def _refuse(text: str) -> None:
    from metaflow.exception import MetaflowException  # noqa: PLC0415

    raise MetaflowException(text)
