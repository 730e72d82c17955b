"""What is made ready for the cases of starting: a channel, a file that asks for it, and a list of real packages."""

from __future__ import annotations

from pathlib import Path

from asynccache.model.digest import digest_file
from tests.support.channel import cached_channel
from tests.support.tiny_channel import write_tiny_channel


def inputs(out: str, *, quick: bool) -> None:
    """Write a channel that can be solved, a file that asks for it, and a list of real packages."""
    directory = Path(out)
    write_tiny_channel(directory / "channel")
    (directory / "environment.yml").write_text("dependencies:\n  - app\n")
    paths = [p.path for p in cached_channel("small" if quick else "full").one_format()]
    lines = [f"{path.as_uri()}#{digest_file(str(path), 'md5').md5}" for path in paths if "feature-" not in path.name]
    (directory / "packages.txt").write_text("\n".join(["@EXPLICIT", *lines]))
