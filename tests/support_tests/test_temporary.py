"""A run of tests fails when something stays in the temporary directory, and says after which test it was there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.testdata import REPOSITORY

CONFTEST = """
from tests.support.temporary import TemporaryDirectoryOfRun

def pytest_configure(config):
    config.pluginmanager.register(TemporaryDirectoryOfRun())
"""
TESTS = """
import subprocess, sys, tempfile

def test_tidy(tmp_path):
    with tempfile.TemporaryDirectory() as name:
        (tmp_path / "mine").write_text(name)

def test_child():
    code = "import tempfile; tempfile.mkdtemp(prefix='asynccache-child-')"
    {child}subprocess.run([sys.executable, "-c", code], check=True)
"""


def run(directory: Path, *words: str, child: bool) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_some.py").write_text(TESTS.format(child="" if child else "del code  # "))
    (directory / "base").mkdir(exist_ok=True)
    variables = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PYTEST_DEBUG_TEMPROOT": str(directory / "base"),
        "TMPDIR": str(directory / "base"),
    }
    variables.pop("PYTEST_XDIST_WORKER", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        str(directory),
        *words,
        "test_some.py",
    ]
    return subprocess.run(command, cwd=directory, env=variables, capture_output=True, text=True, check=False)


PROCESSES = [pytest.param((), marks=pytest.mark.long), ("-n", "2")]


@pytest.mark.parametrize("words", PROCESSES, ids=["one process", "workers"])
def test_what_a_child_leaves_fails_the_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(tmp_path, *words, child=True)
    assert "2 passed" in done.stdout
    assert "left in the temporary directory" in done.stdout
    assert "asynccache-child-" in done.stdout
    assert "first seen after test_some.py::test_child" in done.stdout
    assert done.returncode == 1
    assert [path.name for path in (tmp_path / "base").iterdir() if path.name.startswith("asynccache-")] == []


def test_a_tidy_run_passes(tmp_path: Path) -> None:
    done = run(tmp_path, child=False)
    assert done.returncode == 0, done.stdout
    assert "left in" not in done.stdout
