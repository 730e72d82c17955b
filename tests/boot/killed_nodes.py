"""Kills a bare node while it makes its environment, at random moments, and looks at what each left."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

from tests.boot.conftest import Node


def works(node: Node) -> None:
    """Run the environment's Python, which must find its packages."""
    program = "import requests, six, sys; print(sys.prefix)"
    done = subprocess.run(
        [str(node.home / "__conda_python"), "-c", program], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.strip() == str(node.prefix)


def kill_nodes(node: Node, manifest: Path, kills: int, seed: int, *, files: int) -> int:
    """Kill so often; each environment that has a marker works, and the next try makes it whole.

    Args:
        node: A fresh one.
        manifest: Names the environment of the step `train`.
        kills: How often.
        seed: Of the moments.
        files: How many files the environment has at least.

    Returns:
        How many kills hit a running process.
    """
    assert node.boot(manifest, "train").returncode == 0
    marker = node.prefix / ".metaflowenv"
    marker.unlink()
    process = node.start(manifest, "train")
    assert process.stdout is not None
    process.stdout.readline()
    begun = time.monotonic()
    process.communicate()
    whole = time.monotonic() - begun
    chosen = random.Random(seed)
    hit = rounds = 0
    while hit < kills and rounds < 5 * kills:
        rounds += 1
        marker.unlink(missing_ok=True)
        process = node.start(manifest, "train")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chosen.uniform(0.0, 0.8) * whole)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = process.returncode == -signal.SIGKILL
        hit += killed
        whole *= 1 if killed else 0.7  # it was slower when it was measured
        if marker.exists():
            works(node)
    assert node.boot(manifest, "train").returncode == 0
    works(node)
    assert node.hidden() == []
    assert sum(path.is_file() for path in node.prefix.rglob("*")) >= files
    return hit
