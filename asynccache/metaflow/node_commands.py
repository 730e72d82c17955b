"""The commands that give a node a step's environment: few, short, and without double quotes.

They stand inside `bash -c "..."` of Batch, Kubernetes and schedulers, after the code package is unpacked.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST = "conda_v2.cnd"
NODE_MANIFEST = "asynccache.json"
FETCH = "_fetch_exec"
_PLACE = ".mf_meta/" + NODE_MANIFEST
# the step alone gets the environment's libraries: the commands around it run with the image's Python
EXECUTABLE = (
    "MF_ORIG_LD_LIBRARY_PATH=$LD_LIBRARY_PATH"
    " LD_LIBRARY_PATH=$(cat _env_path)/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} ./__conda_python"
)


def node_commands(target: Sequence[str]) -> list[str]:
    """Return the commands for a step.

    Args:
        target: (req_id, full_id, arch), or (name, `_fetch_exec`, "") of what is looked up on the node.
    """
    if target[1] == FETCH:
        name = shlex.quote(target[0])
        boot = f"python -m asynccache.metaflow.fetch_on_node {_PLACE} {name}"
    else:
        boot = f"python -m asynccache.boot {_PLACE} {target[0]}:{target[1]}"
    return [
        f"( {boot} || ( flush_mflogs; exit 1 ) )",
        "export _METAFLOW_CONDA_ENV=$(cat _env_id) PYTHONNOUSERSITE=1",
    ]
