"""Running a program: in a session of its own, within a time limit, leaving no process behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynccache.errors import ResolverFailedError, ResolverMissingError
from asynccache.model.dataclass import dataclass
from asynccache.resolve.explain import last_lines, timed_out
from asynccache.runtime.late_loop import loop_begins

_REAP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished program.

    Attributes:
        returncode: Exit code; if negative, the signal that ended it.
        stdout: Its standard output, with undecodable bytes replaced.
        stderr: Its standard error, likewise.
    """

    returncode: int
    stdout: str
    stderr: str

    def crashed(
        self, name: str, secrets: Iterable[str], *, said: object = None, hint: str | None = None
    ) -> ResolverFailedError:
        """Return the error for a failure whose reason is not parsed.

        Args:
            name: Name of the program.
            secrets: Words that must not be repeated.
            said: Its own description of the failure.
            hint: What to do.
        """
        how = (
            f"returned error ({self.returncode})" if self.returncode >= 0 else f"was ended by signal {-self.returncode}"
        )
        shown = last_lines(f"{self.stdout}\n{self.stderr}", secrets) or "(it printed nothing)"
        return ResolverFailedError(f"{name} {how}{f' {said}' if said else ''}; its last lines:\n{shown}", hint=hint)


async def run_program(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 - the limit must also kill what the program started
    name: str,
    cwd: Path | None = None,
) -> Finished:
    """Run a program without input and return what it wrote.

    On a time-out, and when the caller is cancelled, the program and all processes that it started are killed.

    Args:
        argv: Program and arguments; no secrets, since every user of the machine can read them.
        env: The whole environment.
        timeout: Seconds until it must have ended.
        name: Its name in errors.
        cwd: Working directory; None for the caller's.

    Raises:
        ResolveTimeoutError: It did not end in time.
        ResolverMissingError: It cannot be started.
    """
    await loop_begins()
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as exc:
        raise ResolverMissingError(f"{name} ({argv[0]}) cannot be started: {exc.strerror}") from exc
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        await _kill(process)
        raise timed_out(timeout, name) from None
    except BaseException:
        await asyncio.shield(_kill(process))
        raise
    return Finished(
        process.returncode or 0, stdout.decode("utf-8", errors="replace"), stderr.decode("utf-8", errors="replace")
    )


async def _kill(process: asyncio.subprocess.Process) -> None:
    # The session's first process leads the group: its id stays taken as long as one member lives.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_REAP_SECONDS):
            await process.wait()
