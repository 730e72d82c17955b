"""The settings where flows are launched: the one reader's, for the datastore in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from asynccache.errors import ConfigurationError
from asynccache.node.metaflow_configuration import root_name
from asynccache.node.settings_table import SETTINGS
from asynccache.node.store_kinds import DATASTORES

if TYPE_CHECKING:
    from asynccache.config import LoadedSettings


def launch_settings(datastore: str | None = None, flags: Mapping[str, object] | None = None) -> LoadedSettings:
    """Return the settings for a datastore.

    Args:
        datastore: `local`, `s3`, `azure` or `gs`: whose root holds the cache; None: as configured.
        flags: Field -> value that comes before everything else; None values do not count.

    Raises:
        ConfigurationError: A value that a setting cannot have.
    """
    from metaflow import metaflow_config  # noqa: PLC0415 - this module is also imported by tests without it

    from asynccache.config import load_settings  # noqa: PLC0415 - where flows are launched

    refused = getattr(metaflow_config, "CONDA_REFUSED", None)
    if refused:
        raise ConfigurationError(" ".join(refused.values()))

    # an extension of the user's company may have set names of Metaflow's in its own module
    extensions = {row.name: getattr(metaflow_config, row.metaflow, None) for row in SETTINGS if row.core}
    # Metaflow's own defaults were not set by anyone
    extensions.update((row.name, None) for row in SETTINGS if extensions.get(row.name) == row.metaflow_default)
    extensions.update((root_name(kind), getattr(metaflow_config, root_name(kind), None)) for kind in DATASTORES)
    said = {name: value for name, value in extensions.items() if value}
    return load_settings({"datastore": datastore, **(flags or {})}, extensions=said)
