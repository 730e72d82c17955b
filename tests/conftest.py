"""Tests see none of the user's settings."""

import os

import pytest

for name in [n for n in os.environ if n.startswith(("ASYNCCACHE_STORE", "METAFLOW_", "AWS_"))]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: "os.PathLike[str]", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
