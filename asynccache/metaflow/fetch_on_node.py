"""`python -m asynccache.metaflow.fetch_on_node MANIFEST NAME`: look a name up on a node, then make what it means.

Standard library and `asynccache.boot` only, Python 3.7; no Metaflow.
"""

from __future__ import annotations

import json
import os
import re
import sys

from asynccache.boot.__main__ import main as make
from asynccache.boot.manifest import Manifest
from asynccache.boot.ranges import Root
from asynccache.errors import HydrationError
from asynccache.metaflow.merge import AskError, expand

_IDS = re.compile(r"[0-9a-f]{40}:[0-9a-f]{40}")


def main(words: list[str]) -> int:
    """Run the command; return its exit code."""
    path, name = words
    try:
        ids = look_up(Manifest.read(path), path, expand(name, os.environ))
    except (AskError, HydrationError) as exc:
        sys.stderr.write(f"asynccache: error: {exc}\n")
        return 1
    return make([path, ids])


def look_up(manifest: Manifest, path: str, name: str) -> str:
    """Return `REQ_ID:FULL_ID` of a name, with the digest that stands behind the name.

    Raises:
        HydrationError: There is none, or the store cannot be read.
    """
    name, mark, digest = name.partition("@sha256:")
    if _IDS.fullmatch(name):
        return name + mark + digest
    with open(path, encoding="utf-8") as file:
        envs = json.load(file).get("envs_dirname", "envs")
    stem, _colon, tag = name.partition(":") if ":" in name else (name, ":", "latest")
    ranges = Root(manifest.root, manifest.endpoint_url, manifest.client).object(f"{envs}/aliases/generic/{stem}/{tag}")
    try:
        data, _size = ranges.tail(4096)  # all of it: two ids
        req_id, full_id = json.loads(data.decode("ascii"))
    except (HydrationError, ValueError) as exc:
        raise HydrationError(f"Cannot find environment '{name}': {exc}") from exc
    return f"{req_id}:{full_id}{mark}{digest}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
