"""Whether an index refuses this user: uv and older releases of pip take a refusal for the absence of a package."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Final

from asynccache.errors import AsyncCacheError, IndexRefusedError, PackageUnknownError
from asynccache.model.credentials import Credentials
from asynccache.model.url import redacted
from asynccache.resolve.pypi.problem import Logins, PypiProblem

_PROBE_SECONDS: Final = 5.0
_MOST_PROJECTS: Final = 3  # an index that refuses one refuses all of them


def unknown(name: str, problem: PypiProblem, logins: Logins, *, asked: str = "", reasons: str = "") -> AsyncCacheError:
    """Return the error for a project that was not found. Blocking: each index is queried for up to five seconds.

    Args:
        name: The project, in normal form.
        problem: The problem.
        logins: Credentials to ask with.
        asked: The requirement, if it says more than the name.
        reasons: The program's message.

    Returns:
        The error of the first index that refuses, otherwise that no index has the project.
    """
    if refusal := refusing([name], problem, logins):
        return refusal
    searched = problem.flags.find_links if problem.flags.no_index else (*problem.indexes, *problem.flags.find_links)
    where = ", ".join(map(redacted, searched)) or "nowhere, since --no-index was given without --find-links"
    return PackageUnknownError(
        f"no index has {(asked or name)!r} for {problem.arch}; searched {where}" + (f":\n{reasons}" if reasons else ""),
        hint="correct the name, or add the index that has it",
    )


def refusing(
    names: Sequence[str], problem: PypiProblem, logins: Logins, *, reasons: str = ""
) -> IndexRefusedError | None:
    """Return the error of the first index that refuses access, None if none does. Blocking.

    Args:
        names: Projects of which too little was found; the first of them are queried, each for up to five seconds.
        problem: The problem.
        logins: Credentials to ask with.
        reasons: The message of the program, which took a refusal for the absence of a version.
    """
    for index in () if problem.flags.no_index else problem.indexes:
        for name in names[:_MOST_PROJECTS]:
            if code := _refusal(f"{index.rstrip('/')}/{name}/", logins.login(index)):
                return refused(index, str(code), reasons)
    return None


def _refusal(address: str, login: Credentials | None) -> int:
    """Query an index for a project. Blocking, up to five seconds.

    Returns:
        401 or 403 if it refuses, otherwise 0.
    """
    if not address.startswith(("http://", "https://")):
        return 0
    request = urllib.request.Request(address)  # noqa: S310 - http and https only
    if login is not None:
        request.add_header("Authorization", login.authorization)
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):  # noqa: S310 - http and https only
            return 0
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code if exc.code in {401, 403} else 0
    except OSError:
        return 0


def refused(index: str, code: str, reasons: str = "") -> IndexRefusedError:
    """Return the error for an index that answered `code` ("401", "403"); `reasons` says what is missing as a result."""
    return IndexRefusedError(
        f"the index {redacted(index)} refuses ({code})" + (f"; without it:\n{reasons}" if reasons else ""),
        hint="give user and password of its host in the setting auth or in .netrc",
    )
