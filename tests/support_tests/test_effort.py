"""What is left out, and where nothing is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import tests.conftest
from tests.support.azurite import CannotInstallError
from tests.support.google_storage import CannotInstallError as NoGoogleServerError

REPOSITORY = Path(__file__).parents[2]


def broken(*_: object, **__: object) -> None:
    raise CannotInstallError("no node")


def broken_too(*_: object, **__: object) -> None:
    raise NoGoogleServerError("no fake-gcs-server")


@pytest.mark.parametrize("set_by_ci", [False, True])
@pytest.mark.parametrize(
    ("server", "name", "way", "words"),
    [
        ("azurite", "azurite_server", broken, "no node"),
        ("google", "google_server", broken_too, "no fake-gcs-server"),
        ("weed", "weed_binary", lambda: None, "SeaweedFS is not installed"),
        ("moto", "has_module", lambda _name: False, "moto is not installed"),
    ],
)
def test_tests_of_a_server_that_is_not_there_are_skipped_and_fail_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch, server: str, name: str, way: object, words: str, *, set_by_ci: bool
) -> None:
    monkeypatch.setattr(tests.conftest, name, way)
    monkeypatch.delenv("ASYNCCACHE_TEST_ALL_SERVERS", raising=False)
    if set_by_ci:
        monkeypatch.setenv("ASYNCCACHE_TEST_ALL_SERVERS", "1")
    ends = pytest.fail.Exception if set_by_ci else pytest.skip.Exception
    with pytest.raises(ends, match=words):
        next(getattr(tests.conftest, server).__wrapped__())


def test_continuous_integration_leaves_no_server_out(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$1 $ASYNCCACHE_TEST_ALL_SERVERS"\n')
    make.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([REPOSITORY / ".ci" / "run"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "test 1\n"
