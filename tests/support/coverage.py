"""How much of the code this process and its siblings ran; a run that `make test` starts fails below what is wanted.

SlipCover instruments byte code and takes its probes out again once a line was seen, so that a run costs hardly more:
tracing of Python 3.11 would double it. What tests start as programs of their own is not counted.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import slipcover

LEAST: Final = "ASYNCCACHE_TEST_COVERAGE"  # percent of lines: `make test` sets it
REPOSITORY: Final = Path(__file__).parents[2]
SOURCES: Final = ("asynccache", "cli/asynccache_cli")
_OUTPUT: Final = "lines that were run"
Lines = dict[str, tuple[list[int], list[int]]]  # of each file: which were run, and which were not


def _begin() -> slipcover.Slipcover | None:
    """Instrument what is imported from now on, where coverage is wanted."""
    if LEAST not in os.environ:
        return None
    sources = [str(REPOSITORY / source) for source in SOURCES]
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    measured = slipcover.Slipcover(
        source=sources if alone else None
    )  # the process that starts workers adds what was never imported
    slipcover.ImportManager(measured, slipcover.FileMatcher(sources=sources)).__enter__()
    return measured


MEASURED: Final = _begin()


class CoverageOfRun:
    """A plugin: adds up what each process of a run saw, prints it for each room, and fails the run below the least."""

    def __init__(self) -> None:
        self.least = float(os.environ[LEAST])
        self._lines: Lines = {}
        self._passed = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand on what a worker saw, or judge what all saw."""
        seen = _lines_of(MEASURED.get_coverage() if MEASURED else {})
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = seen
            return
        self._lines = add(self._lines, seen)
        self._passed = not session.exitstatus
        if self._passed and percent(self._lines) < self.least:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of xdist saw."""
        self._lines = add(self._lines, getattr(node, "workeroutput", {}).get(_OUTPUT, {}))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Any:
        """Say it last, a room a line."""
        yield
        if not self._passed:
            return
        terminalreporter.section("lines that tests run, in percent")
        for room, lines in by_room(self._lines).items():
            terminalreporter.write_line(f"{room:32} {percent(lines):5.1f}")
        total = percent(self._lines)
        enough = total >= self.least
        verdict = "" if enough else f", less than the {self.least:g} that {LEAST} asks for: test what was added"
        terminalreporter.write_line(f"{'all':32} {total:5.1f}{verdict}", red=not enough)


def add(one: Lines, other: Lines) -> Lines:
    """Return what either ran, and what neither did."""
    added = dict(one)
    for name, (run, missing) in other.items():
        run_before, missing_before = added.get(name, ([], []))
        both = {*run, *run_before}
        added[name] = (sorted(both), sorted({*missing, *missing_before} - both))
    return added


def percent(lines: Lines) -> float:
    """Return which part of all lines was run, of 100."""
    run, missing = (sum(len(each[part]) for each in lines.values()) for part in (0, 1))
    return 100 * run / (run + missing) if run + missing else 0.0


def by_room(lines: Lines) -> dict[str, Lines]:
    """Return the lines of each directory, in order of their names."""
    rooms: dict[str, Lines] = defaultdict(dict)
    for name, of_file in lines.items():
        rooms[Path(name).parent.as_posix()][name] = of_file
    return dict(sorted(rooms.items()))


def _lines_of(coverage: dict[str, Any]) -> Lines:
    files = coverage.get("files", {}).items()
    return {_relative(name): (each["executed_lines"], each["missing_lines"]) for name, each in files}


def _relative(name: str) -> str:
    path = Path(REPOSITORY, name)
    return path.relative_to(REPOSITORY).as_posix() if path.is_relative_to(REPOSITORY) else name
