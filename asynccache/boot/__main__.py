"""`python -m asynccache.boot MANIFEST STEP|REQ_ID:FULL_ID [--envs DIR] [--arch ARCH]`.

Creates the environment and writes `_env_id`, `_env_path`, `__conda_python` and `_asynccache_receipt.json` in the
working directory. Exit codes: 0 done, 1 the environment cannot be created (one line on stderr), 2 malformed arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from asynccache.boot.manifest import Manifest, this_architecture
from asynccache.boot.node import link_into, make_environment
from asynccache.errors import AsyncCacheError
from asynccache.node.environments import RECEIPT


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="asynccache.boot", description="Make a cached environment on this node.")
    parser.add_argument("manifest", help="JSON file of the submitting side")
    parser.add_argument("environment", help="step, or REQ_ID:FULL_ID")
    parser.add_argument("--envs", help="directory of environments")
    parser.add_argument("--arch", help="architecture; default: this machine's")
    words = parser.parse_args(arguments)
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"    [{time.monotonic() - started:6.2f} s] {text}\n")
        sys.stdout.flush()

    try:
        manifest = Manifest.read(words.manifest)
        req_id, full_id = manifest.ids(words.environment)
        env = (req_id, full_id, words.arch or this_architecture())
        say(f"Setting up environment {req_id}:{full_id}")
        receipt = make_environment(manifest, env, say, words.envs)
        link_into(receipt.prefix, env, ".")
        with open(RECEIPT, "w") as file:
            json.dump(receipt.as_document(), file)
    except AsyncCacheError as exc:
        sys.stderr.write(f"asynccache: error: {exc}\n")
        return 1
    except OSError as exc:
        sys.stderr.write(f"asynccache: error: the environment cannot be set up ({exc})\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("asynccache: interrupted\n")
        return 130
    say(receipt.sentence())
    return 0


if __name__ == "__main__":
    sys.exit(main())
