from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.testdata import find_testdata, real_packages


def test_real_packages_are_found_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCCACHE_TESTDATA", str(tmp_path))
    (tmp_path / "packages" / "x" / "noarch").mkdir(parents=True)
    for name in ("b-1-0.tar.bz2", "a-1-0.conda", "repodata.json"):
        (tmp_path / "packages" / "x" / "noarch" / name).write_bytes(b"x")
    (tmp_path / "MANIFEST.tsv").write_text('local_path\tname\npackages/x/noarch/a-1-0.conda\t"a\n')
    found = real_packages()
    assert [package.path.name for package in found] == ["a-1-0.conda", "b-1-0.tar.bz2"]
    assert [package.fields.get("name") for package in found] == ['"a', None]


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCCACHE_TESTDATA", str(tmp_path / "absent"))
    assert find_testdata() is None
    assert real_packages() == []
