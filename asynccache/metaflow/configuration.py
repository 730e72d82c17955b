"""The names that the extension adds to `metaflow.metaflow_config` (contract, section 8), out of the table of settings.

Each is read by Metaflow's own `from_conf`: environment variable `METAFLOW_<NAME>`, the project's configuration, the
user's. Only what is read so travels to tasks. Nothing but standard library and Metaflow is imported.
"""

from __future__ import annotations

import json
import os
from typing import Any

from asynccache.node.metaflow_configuration import MetaflowConfiguration, root_below, root_name
from asynccache.node.setting import Setting
from asynccache.node.settings_table import SETTINGS
from asynccache.node.store_kinds import DATASTORES


def configuration() -> dict[str, Any]:
    """Return the variables.

    An invalid value is reported by the code that works with environments (`CONDA_REFUSED`, name -> sentence): raised
    here it would be a traceback for every program that imports Metaflow.
    """
    from metaflow import metaflow_config  # noqa: PLC0415 - is being imported, its own names are there
    from metaflow import metaflow_config_funcs as functions  # noqa: PLC0415

    tables = (functions.METAFLOW_LOCAL_CONFIG, functions.METAFLOW_CONFIG)
    said = MetaflowConfiguration(os.environ, [("", table) for table in tables if table])
    rows = [row for row in SETTINGS if row.metaflow and not row.core]
    rows += [Setting("", "text", None, "", metaflow=root_name(datastore)) for datastore in DATASTORES]
    for row in rows:
        _settle(row, said, functions.METAFLOW_LOCAL_CONFIG)
    refused: dict[str, str] = {}
    names = {row.metaflow: _value(row, refused) for row in rows}
    for datastore in DATASTORES:
        sysroot = getattr(metaflow_config, "DATASTORE_SYSROOT_" + datastore.upper(), None)
        if names[root_name(datastore)] is None and sysroot:
            names[root_name(datastore)] = root_below(sysroot)
    return {
        **names,
        "CONDA_SYS_DEPENDENCIES": ("__cuda", "__glibc"),
        "CONDA_BARE_KEYS": said.bare,
        "CONDA_REFUSED": refused,
    }


def _settle(row: Setting, said: MetaflowConfiguration, first: dict[str, Any]) -> None:
    """Put what the files say of a name where Metaflow looks first, in the format that it hands on to tasks."""
    found = said.in_files(row.metaflow)
    if found is not None:
        raw = row.null if found.raw is None else found.raw
        first["METAFLOW_" + row.metaflow] = json.dumps(raw) if isinstance(raw, (list, dict)) else raw


def _value(row: Setting, refused: dict[str, str]) -> Any:
    from metaflow.metaflow_config_funcs import from_conf  # noqa: PLC0415

    raw = from_conf(row.metaflow)
    if raw is not None and not (raw == "" and row.blank_is_unset):
        try:
            return row.read(raw, "METAFLOW_" + row.metaflow, strict=True)
        except ValueError as exc:
            refused[row.metaflow] = str(exc)
    default = row.default if row.metaflow_default is None else row.metaflow_default
    return default() if callable(default) else default
