"""Whether an index refuses this user: uv and older releases of pip take a refusal for the absence of a package."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from typing import Final
from urllib.parse import urlsplit

from asynccache.engine.keyring import keyring_login
from asynccache.engine.transport import Credentials
from asynccache.errors import IndexRefusedError
from asynccache.model.url import redacted
from asynccache.resolve.pypi_problem import Logins, PypiProblem

_PROBE_SECONDS: Final = 5.0


def refusing(name: str, problem: PypiProblem, logins: Logins) -> IndexRefusedError | None:
    """Ask the indexes of a problem for a project, blocking: up to five seconds each.

    Args:
        name: The project, in normal form.
        problem: What was asked.
        logins: Credentials to ask with.

    Returns:
        The error that names the first index that refuses; None when none does.
    """
    for index in () if problem.flags.no_index else problem.indexes:
        if code := _refusal(f"{index.rstrip('/')}/{name}/", logins.login(index)):
            return refused(index, str(code))
    return None


def _refusal(address: str, login: Credentials | None) -> int:
    """Ask an index for a project: blocking, up to five seconds.

    Returns:
        401 or 403 when it refuses, else 0.
    """
    if not address.startswith(("http://", "https://")):
        return 0
    request = urllib.request.Request(address)  # noqa: S310 - http and https only
    if login is not None:
        pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):  # noqa: S310 - http and https only
            return 0
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code if exc.code in {401, 403} else 0
    except OSError:
        return 0


def kept_logins(problem: PypiProblem, logins: Logins) -> dict[str, list[str]]:
    """Ask the keyring for the indexes that nobody gave a login of, blocking: after one of them could not be read.

    uv and pip ask it for the password of a user only.

    Returns:
        Host -> [user, password].
    """
    hosts = {urlsplit(index).netloc for index in problem.indexes if urlsplit(index).scheme in {"http", "https"}}
    unknown = [host for host in sorted(hosts) if logins.login(f"https://{host}/") is None]
    found = {host: keyring_login(host) for host in unknown}
    return {host: [login.username, login.password] for host, login in found.items() if login is not None}


def refused(index: str, code: str) -> IndexRefusedError:
    """Return the error for an index that answered `code` ("401", "403")."""
    return IndexRefusedError(
        f"the index {redacted(index)} refuses ({code})",
        hint="give user and password of its host in the setting auth or in .netrc",
    )
