"""A run that measures which lines tests run fails below what is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.coverage import LEAST, add, percent
from tests.support.testdata import REPOSITORY

CONFTEST = """
from tests.support.coverage import CoverageOfRun

def pytest_configure(config):
    config.pluginmanager.register(CoverageOfRun())
"""
TESTS = """
def test_one():
    import asynccache.model.platform

def test_other():
    import asynccache.model.package
"""


def run(directory: Path, least: str, *words: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_some.py").write_text(TESTS)
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), LEAST: least}
    variables.pop("PYTEST_XDIST_WORKER", None)
    options = ["-q", "-c", os.devnull, "-p", "no:cacheprovider", "--rootdir", str(directory), *words, "test_some.py"]
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=directory, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.long  # each `make test` is such a run
def test_a_run_fails_where_its_workers_together_saw_less_than_is_wanted(tmp_path: Path) -> None:
    done = run(tmp_path, "99", "-n", "2")
    assert "2 passed" in done.stdout
    assert "less than the 99 that ASYNCCACHE_TEST_COVERAGE asks for" in done.stdout
    assert done.returncode == 1
    percents = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line.startswith("asynccache/")}
    assert float(percents["asynccache/model"]) > 1
    assert percents["asynccache/ops"] == "0.0"  # what no test imports counts as well


@pytest.mark.parametrize("swapped", [False, True])
def test_a_line_that_either_ran_was_run(*, swapped: bool) -> None:
    one, other = {"a.py": ([1, 2], [3, 4])}, {"a.py": ([3], [1, 2, 4]), "b.py": ([], [1])}
    added = add(other, one) if swapped else add(one, other)
    assert added == {"a.py": ([1, 2, 3], [4]), "b.py": ([], [1])}
    assert percent(added) == 60
    assert percent({}) == 0
