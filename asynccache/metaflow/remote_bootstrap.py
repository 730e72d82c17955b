"""The name by which flows that were deployed with another extension make their environment (contract, section 9).

`python -m metaflow_extensions.netflixext.plugins.conda.remote_bootstrap FLOW STEP REQ_ID FULL_ID DATASTORE`, where
this module goes into code packages under that name. Standard library and what of asynccache uses nothing else, Python
3.7.
"""

from __future__ import annotations

import json
import os
import shutil
import sys

from asynccache.boot.__main__ import main as make
from asynccache.metaflow.node_commands import FETCH, NODE_MANIFEST
from asynccache.node.metaflow_configuration import MetaflowConfiguration, root_name, with_scheme
from asynccache.node.settings_table import local_endpoint
from asynccache.node.store_kinds import DATASTORES, KINDS

_META = ".mf_meta"


def main(words: list[str]) -> int:
    """Make the environment; return the exit code."""
    if len(words) != 5:
        sys.stderr.write("expected: FLOW STEP REQ_ID FULL_ID DATASTORE\n")
        return 2
    _flow, _step, req_id, full_id, datastore = words
    listed = os.path.join(_META, os.environ.get("METAFLOW_CONDA_MAGIC_FILE_V2", "conda_v2.cnd"))
    if os.path.exists(listed):
        os.makedirs(".metaflow", exist_ok=True)
        shutil.copyfile(listed, os.path.join(".metaflow", os.path.basename(listed)))
    path = os.path.join(_META, NODE_MANIFEST)
    if not os.path.exists(path):
        path = NODE_MANIFEST
        with open(path, "w", encoding="utf-8") as file:
            json.dump(from_variables(datastore), file)
    if full_id == FETCH:
        from asynccache.metaflow.fetch_on_node import main as fetch  # noqa: PLC0415 - only for such steps

        return fetch([path, req_id])
    return make([path, f"{req_id}:{full_id}"])


def from_variables(datastore: str) -> dict[str, object]:
    """Return what a node needs to know and no code package contains: Metaflow passes it on in variables."""
    kind = datastore if datastore in DATASTORES else next(iter(KINDS))
    said = MetaflowConfiguration(os.environ, [])
    root = said.variable(root_name(kind))
    if root is None or not root.raw:
        root = said.default_root(kind)
    endpoint = local_endpoint(KINDS[kind].endpoint) if kind in KINDS else None
    return {
        "version": 1,
        "root": None if root is None else with_scheme(root.raw, kind),
        "endpoint_url": (endpoint or "").partition("?")[0] or None,  # readers look for a signature
        "envs_dirname": os.environ.get("METAFLOW_CONDA_ENVS_DIRNAME", "envs"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
