"""A second opinion on an archive that we wrote: another program reads both formats of a package and compares them.

It is asked after our own comparison, never instead of it, and cannot make good what that refused.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asynccache.errors import IntegrityError, TransmuteError, UsageError

Opinion = Callable[[Path, str, Path, str], None]
"""Given a file and its name, and those of the other format; raises when they differ. Blocking."""


def by_cph(published: Path, published_name: str, derived: Path, derived_name: str) -> None:
    """Have conda-package-handling compare two formats: each member's name, type, mode, owner, time, link and content.

    It reads them with conda-package-streaming and Python's own tar reader, so that nothing of it is ours.

    Args:
        published: One format.
        published_name: Its file name as a package, whatever the file is called.
        derived: The other one.
        derived_name: Its file name.

    Raises:
        IntegrityError: They differ: says where.
        TransmuteError: One of them cannot be read by it.
    """
    validate = importlib.import_module("conda_package_handling.validate")  # only where it is asked for
    with tempfile.TemporaryDirectory(prefix="asynccache-opinion-") as directory:
        links = []
        for path, name in ((published, published_name), (derived, derived_name)):
            links.append(Path(directory, name))  # it recognises formats by file name
            links[-1].symlink_to(path.absolute())
        try:
            _, missing, mismatched = validate.validate_converted_files_match_streaming(*links)
        except Exception as exc:  # whatever the libraries below raise at what they cannot read
            raise TransmuteError(
                f"conda-package-handling cannot compare {derived_name} with {published_name}",
                found=f"{type(exc).__name__}: {exc}",
            ) from exc
    different = sorted({*missing, *mismatched}, key=lambda name: (name.startswith("info/"), name))
    if different:
        raise IntegrityError(
            f"conda-package-handling finds that {derived_name} does not hold what {published_name} holds",
            expected="equal members",
            found=f"{len(different)} that differ, among them {different[0]!r}",
        )


OPINIONS: Final[dict[str, Opinion]] = {"cph": by_cph}
"""By the name of the program."""


def opinion_of(name: str | None) -> Opinion | None:
    """Return the function that gives a second opinion, or None.

    Raises:
        UsageError: There is no such program.
    """
    if name is not None and name not in OPINIONS:
        raise UsageError(f"nobody called {name!r} can check what was written", expected=", ".join(OPINIONS))
    return None if name is None else OPINIONS[name]
