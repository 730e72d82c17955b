"""The names that the extension adds to `metaflow.metaflow_config` (contract, section 8), out of the table of settings.

Each is read by Metaflow's own `from_conf`: environment variable `METAFLOW_<NAME>`, the project's configuration, the
user's. Only what is read so travels to tasks. Nothing but standard library and Metaflow is imported.
"""

from __future__ import annotations

import json
import os
from typing import Any

from asynccache.node.metaflow_configuration import MetaflowConfiguration, root_below, root_name
from asynccache.node.setting import Setting, is_json
from asynccache.node.settings_table import DATASTORES, SETTINGS


def configuration() -> dict[str, Any]:
    """Return the variables.

    Raises:
        MetaflowException: A variable has a value it cannot have; says which it can.
        ValueError: A list or map is not written as JSON, a number not as one.
    """
    from metaflow import metaflow_config  # noqa: PLC0415 - is being imported, its own names are there
    from metaflow import metaflow_config_funcs as functions  # noqa: PLC0415

    tables = (functions.METAFLOW_LOCAL_CONFIG, functions.METAFLOW_CONFIG)
    said = MetaflowConfiguration(os.environ, [("", table) for table in tables if table])
    rows = [row for row in SETTINGS if row.metaflow and not row.core]
    rows += [Setting("", "text", None, "", metaflow=root_name(datastore)) for datastore in DATASTORES]
    for row in rows:
        _settle(row, said, functions.METAFLOW_LOCAL_CONFIG)
    names = {row.metaflow: _value(row) for row in rows}
    for datastore, name in DATASTORES.items():
        sysroot = getattr(metaflow_config, "DATASTORE_SYSROOT_" + name, None)
        if names[root_name(datastore)] is None and sysroot:
            names[root_name(datastore)] = root_below(sysroot)
    return {**names, "CONDA_SYS_DEPENDENCIES": ("__cuda", "__glibc"), "CONDA_BARE_KEYS": said.bare}


def _settle(row: Setting, said: MetaflowConfiguration, first: dict[str, Any]) -> None:
    """Put what the files say of a name where Metaflow looks first, in the form that it hands on to tasks."""
    found = said.in_files(row.metaflow)
    if found is not None:
        raw = row.null if found.raw is None else found.raw
        first["METAFLOW_" + row.metaflow] = json.dumps(raw) if isinstance(raw, (list, dict)) else raw


def _value(row: Setting) -> Any:
    from metaflow.exception import MetaflowException  # noqa: PLC0415
    from metaflow.metaflow_config_funcs import from_conf  # noqa: PLC0415

    raw = from_conf(row.metaflow)
    if raw is None or (raw == "" and row.blank_is_unset):
        default = row.default if row.metaflow_default is None else row.metaflow_default
        return default() if callable(default) else default
    try:
        return row.read(raw, "METAFLOW_" + row.metaflow, strict=True)
    except ValueError as exc:
        if is_json(row) or row.kind == "number":  # as Metaflow tells of its own
            raise
        raise MetaflowException(str(exc)) from None
