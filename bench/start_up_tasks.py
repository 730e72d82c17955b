"""What is made ready for the cases of starting: a channel, a file that asks for it, packages."""

from __future__ import annotations

import random
from pathlib import Path

from asynccache.model.digest import digest_file
from asynccache.model.package import Format
from tests.support.channel import cached_channel
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.tiny_channel import write_tiny_channel


def inputs(out: str, *, quick: bool) -> None:
    """Write a channel that can be solved, a file that asks for it, a package of some 11 kB, and a list of real ones."""
    directory = Path(out)
    write_tiny_channel(directory / "channel")
    text = random.Random(1).randbytes(8_000).hex().encode()  # half of it is what bzip2 makes of it
    members = [Member(f"site-packages/small/part_{n}.py", text[n::18]) for n in range(18)]
    write_package(directory, Metadata(name="small", version="1.0", noarch="python"), members, [Format.TAR_BZ2])
    (directory / "environment.yml").write_text("dependencies:\n  - app\n")
    paths = [p.path for p in cached_channel("small" if quick else "full").one_format()]
    lines = [f"{path.as_uri()}#{digest_file(str(path), 'md5').md5}" for path in paths if "feature-" not in path.name]
    (directory / "packages.txt").write_text("\n".join(["@EXPLICIT", *lines]))
