"""A temporary directory for each process of a test run, which must be empty if the run ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

_LEFT: Final = "left in the temporary directory"
_LOOKS: Final = 50  # at the end, a tenth of a second apart
_BASE: Final = "PYTEST_DEBUG_TEMPROOT"  # where pytest makes what it gives to tests, if not in the temporary directory
# what programs of others keep there by design, for all processes of a user
_OF_OTHERS: Final = ("uv-", "pip-", "hsperfdata_", "node-compile-cache")


def base() -> Path:
    """Return below what pytest makes the directories that it gives to tests."""
    return Path(os.environ[_BASE])


class TemporaryDirectoryOfRun:
    """A plugin: gives this process, and all that it starts, a TMPDIR; fails the run that leaves something in it.

    With xdist each worker has its own, and the process that started them tells what they found.
    """

    def __init__(self) -> None:
        os.environ.setdefault(_BASE, tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix="asynccache-tests-", dir=os.environ[_BASE]))
        self.path.chmod(0o1777)  # as the system's: tests become other users
        os.environ["TMPDIR"], tempfile.tempdir = str(self.path), None
        self._seen: dict[str, str] = {}
        self._left: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note after which test something was there first."""
        for name in self._names():
            self._seen.setdefault(name, nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look, remove the directory, and fail the run."""
        for _ in range(_LOOKS):  # what tests have ended may be at removing its files
            if not (names := [*self._names()]):
                break
            time.sleep(0.1)
        for name in names:
            inside = sorted(path.name for path in (self.path / name).iterdir()) if (self.path / name).is_dir() else []
            holding = f" with {', '.join(inside[:5])} in it" if inside else ""
            self._left.append(f"{name}{holding} (first seen after {self._seen.get(name, 'the last test')})")
        shutil.rmtree(self.path, ignore_errors=True)
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_LEFT] = self._left
        elif self._left and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of xdist found."""
        self._left += getattr(node, "workeroutput", {}).get(_LEFT, [])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Say it last, below the list of what was skipped: of a long log the end is kept."""
        yield
        if self._left:
            terminalreporter.section(_LEFT, red=True)
            for line in sorted(self._left):
                terminalreporter.write_line(line)

    def _names(self) -> Iterator[str]:
        return (path.name for path in sorted(self.path.iterdir()) if not path.name.startswith(_OF_OTHERS))
