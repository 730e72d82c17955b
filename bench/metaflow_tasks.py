"""What is made ready for the cases with Metaflow: virtual environments, and a channel with a Python."""

from __future__ import annotations

import json
from pathlib import Path

from tests.metaflow.local import write_channel
from tests.support.flow_channel import flow_channel
from tests.support.metaflow_venv import launch_venv


def venvs(out: str) -> None:
    """Make virtual environments and write their interpreters, by what they have, into a directory."""
    made = {
        "Metaflow alone": launch_venv(asynccache=False),
        "with asynccache": launch_venv(),
        "with metaflow-netflixext": launch_venv("metaflow-netflixext", asynccache=False),
    }
    pythons = {name: str(place / "bin" / "python") for name, place in made.items()}
    (Path(out) / "pythons.json").write_text(json.dumps(pythons), encoding="utf-8")


def channel(out: str) -> None:
    """Write a channel with the Python that launches flows and what Metaflow needs into a directory."""
    write_channel(Path(out) / "channel", flow_channel(("3.11",)).root)
