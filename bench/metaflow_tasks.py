"""What is made ready for the cases with Metaflow: virtual environments, and a channel with a Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Figures = dict[str, float]


def venvs(out: str) -> Callable[[], Figures]:
    """Return the work: make virtual environments and write their interpreters, by what they have, into a directory."""

    def work() -> Figures:
        from tests.support.metaflow_venv import launch_venv  # noqa: PLC0415 - only where it is asked for

        made = {
            "Metaflow alone": launch_venv(asynccache=False),
            "with asynccache": launch_venv(),
            "with metaflow-netflixext": launch_venv("metaflow-netflixext", asynccache=False),
        }
        pythons = {name: str(place / "bin" / "python") for name, place in made.items()}
        (Path(out) / "pythons.json").write_text(json.dumps(pythons), encoding="utf-8")
        return {}

    return work


def channel(out: str) -> Callable[[], Figures]:
    """Return the work: write a channel with the Python that launches flows and what Metaflow needs into a directory."""

    def work() -> Figures:
        from tests.metaflow.local import write_channel  # noqa: PLC0415 - as above
        from tests.support.flow_channel import flow_channel  # noqa: PLC0415 - as above

        write_channel(Path(out) / "channel", flow_channel(("3.11",)).root)
        return {}

    return work
