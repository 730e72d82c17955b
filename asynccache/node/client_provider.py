"""Metaflow plugins that provide credentials for a cloud (`DEFAULT_AWS_CLIENT_PROVIDER` and similar). Python 3.7."""

from __future__ import annotations

import importlib
from typing import Any

from asynccache.errors import ConfigurationError
from asynccache.node.store_kinds import KINDS


def foreign_provider(datastore: str, *said: str | None) -> str | None:
    """Return the first named provider, None if there is none or it is Metaflow's own."""
    named = next((name for name in said if name), None)
    return None if named == KINDS[datastore].built_in else named


def provider_variable(datastore: str) -> str:
    """Return the variable that names a datastore's provider."""
    return "METAFLOW_DEFAULT_%s_CLIENT_PROVIDER" % KINDS[datastore].cloud


def client_provider(datastore: str, name: str) -> Any:
    """Return a plugin of Metaflow's.

    Args:
        datastore: `s3`, `azure` or `gs`.
        name: Name of the plugin.

    Raises:
        ConfigurationError: Metaflow is not installed, or has no such plugin.
    """
    variable = provider_variable(datastore)
    try:
        known = getattr(importlib.import_module("metaflow.plugins"), KINDS[datastore].cloud + "_CLIENT_PROVIDERS")
    except ImportError as exc:
        raise ConfigurationError(
            f"{variable} names {name!r}, a plugin of Metaflow, which cannot be imported here ({exc})",
            hint="install Metaflow and the extension that provides the plugin, or unset it",
        ) from exc
    for each in known:
        if each.name == name:
            return each
    raise ConfigurationError(
        f"{variable} names {name!r}, which is no plugin of the installed Metaflow",
        expected=", ".join(sorted(each.name for each in known)),
        hint="install the extension that provides it, or unset it",
    )
