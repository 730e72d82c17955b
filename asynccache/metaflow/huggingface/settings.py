"""The settings of `@huggingface`, and how they reach nodes: in the code package.

Metaflow hands only some variables on to nodes, and these are not among them. On a node, a variable that is set there
counts first, then what the code package says. Standard library and Metaflow, Python 3.7.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from typing import Any, Iterator, NamedTuple
from urllib.parse import urlsplit

from asynccache.metaflow.huggingface.models import HuggingFaceException
from asynccache.node.settings_table import SETTINGS

PACKAGED = "asynccache_huggingface.json"
DEFAULTS: dict[str, Any] = {
    row.metaflow: row.default() if callable(row.default) else row.default
    for row in SETTINGS
    if row.metaflow.startswith("HUGGINGFACE_")
}


class HuggingFaceSettings(NamedTuple):
    """What can be set.

    Attributes:
        provider: Name of the provider of tokens.
        providers: Name -> `module.Class`.
        endpoint: Address of the hub, None for the one that huggingface_hub asks by itself.
        local_dir: Where snapshots go, None for the task's temporary directory.
        timeout: Seconds without any progress after which fetching fails.
    """

    provider: str
    providers: dict[str, Any]
    endpoint: str | None
    local_dir: str | None
    timeout: int


def read_settings() -> HuggingFaceSettings:
    """Return the settings that count in this process.

    Raises:
        HuggingFaceException: One has a value that it cannot have.
    """
    values = _configured()
    from metaflow import metaflow_config  # noqa: PLC0415 - as in the other functions

    for name, sentence in getattr(metaflow_config, "CONDA_REFUSED", {}).items():
        if name in values:
            raise HuggingFaceException(sentence)
    for name, value in _packaged().items():
        if name in values and "METAFLOW_" + name not in os.environ:
            values[name] = value
    provider, providers, endpoint, local_dir, timeout = (values[name] for name in DEFAULTS)
    return HuggingFaceSettings(provider or "env", providers, _address(endpoint), local_dir or None, timeout)


def package_settings() -> Iterator[tuple[Any, ...]]:
    """Yield the file with the local settings for nodes, as a decorator adds it to the code package."""
    changed = {name: value for name, value in _configured().items() if value != DEFAULTS[name]}
    if changed:
        from metaflow.packaging_sys import ContentType  # noqa: PLC0415 - where flows are launched

        path = os.path.join(_directory().name, PACKAGED)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(changed, file, sort_keys=True)
        yield path, PACKAGED, ContentType.OTHER_CONTENT


@functools.lru_cache(maxsize=None)
def _directory() -> tempfile.TemporaryDirectory[str]:
    """Return what keeps the file until the process ends; the code package is made of one path for all steps."""
    return tempfile.TemporaryDirectory(prefix="metaflow-huggingface-")


def _configured() -> dict[str, Any]:
    from metaflow import metaflow_config  # noqa: PLC0415 - complete only after this module is imported

    return {name: getattr(metaflow_config, name, default) for name, default in DEFAULTS.items()}


def _packaged() -> dict[str, Any]:
    from metaflow.packaging_sys import ContentType, MetaflowCodeContent  # noqa: PLC0415 - only in tasks

    path = MetaflowCodeContent.get_filename(PACKAGED, ContentType.OTHER_CONTENT)
    if not path or not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    return values if isinstance(values, dict) else {}


def _address(endpoint: str | None) -> str | None:
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.username is not None or parts.password is not None:
        raise HuggingFaceException(
            "METAFLOW_HUGGINGFACE_ENDPOINT has a user or a password in it, which would be shown in logs: leave them"
            " out, and let METAFLOW_HUGGINGFACE_AUTH_PROVIDER give a token"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise HuggingFaceException(
            f"METAFLOW_HUGGINGFACE_ENDPOINT is '{endpoint}': it must be an http or https address"
        )
    return endpoint.rstrip("/")
