"""Functions that programs know from metaflow-netflixext (contract, section 13).

What reads names and channels comes with the call. Standard library and Metaflow, Python 3.7.
"""

from __future__ import annotations

import os
import subprocess
from typing import Mapping, Sequence

from metaflow.exception import MetaflowException

from asynccache.metaflow.errors import CondaException
from asynccache.metaflow.values import AliasType

_SHOWN = 2000  # characters of what a failed program said


def resolve_env_alias(env_alias: str) -> tuple[AliasType, str]:
    """Return the kind of a name and its stored archive.

    Raises:
        MetaflowException: It is not a name.
    """
    from asynccache.api import Alias  # noqa: PLC0415 - Python 3.11
    from asynccache.errors import UsageError  # noqa: PLC0415

    try:
        alias = Alias.parse(env_alias)
    except UsageError as exc:
        raise MetaflowException(str(exc)) from exc
    return AliasType(alias.kind), alias.stored


def is_alias_mutable(alias_type: AliasType, resolved_alias: str) -> bool:
    """Return whether a stored name may be moved to another environment."""
    from asynccache.api import Alias  # noqa: PLC0415 - Python 3.11

    return Alias(alias_type.value, resolved_alias).mutable


def channel_or_url(url: str) -> str:
    """Return a channel as requests name it."""
    from asynccache.api import flows  # noqa: PLC0415 - Python 3.11

    return flows.channel_or_url(url)


def call_binary(
    args: Sequence[str],
    binary: str,
    cwd: str | None = None,
    no_exception_on_error: bool = False,
    *,
    addl_env: Mapping[str, str] | None = None,
) -> tuple[bytes, int]:
    """Run a program; return what it printed and its exit code.

    Args:
        args: Its arguments.
        binary: Its path.
        cwd: Where it runs; None for here.
        no_exception_on_error: Return the code of one that failed.
        addl_env: Further variables.

    Raises:
        CondaException: It failed, or cannot be run.
    """
    environment = dict(os.environ, **(addl_env or {}))
    try:
        done = subprocess.run(  # noqa: S603 - the caller's program, with an argument list
            [binary, *args], cwd=cwd, env=environment, capture_output=True, check=False
        )
    except OSError as exc:
        raise CondaException(f"{binary} cannot be run: {exc}") from exc
    if done.returncode and not no_exception_on_error:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-_SHOWN:]
        raise CondaException(f"{binary} ended with code {done.returncode}: {said}")
    return done.stdout, done.returncode
