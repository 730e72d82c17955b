"""The code of a past step, and the Metaflow of a run that kept none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.errors import FetchRefusedError
from asynccache.ops.code_package import fetched_code
from tests.support.pypi_index import PyPIIndex, write_distribution

PATHSPEC = "Flow/7/train"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    with PyPIIndex(tmp_path / "index") as index:
        write_distribution(index.directory, "metaflow", "2.19.39", requires=["absent"])
        write_distribution(index.directory, "metaflow-netflixext", "1.3.17")
        yield index


def ran(directory: Path, version: str) -> None:
    """Write what Metaflow's local datastore keeps of a run."""
    meta = directory / ".metaflow" / "Flow" / "7" / "_meta"
    meta.mkdir(parents=True)
    tags = ["user:me", f"metaflow_version:{version}"]
    (meta / "_self.json").write_text(json.dumps({"system_tags": tags}))


@pytest.fixture
def settings(tmp_path: Path, index: PyPIIndex) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", datastore_root=tmp_path, default_pypi_source=index.url, attempts=1)


async def test_a_run_without_code_gets_the_metaflow_and_the_extensions_that_it_had(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "around" / "metaflow").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "around")  # where somebody works, a directory of that name is no Metaflow
    ran(tmp_path, "2.19.39+netflixext(1.3.17)")
    async with fetched_code(settings, PATHSPEC, strict=True) as code:
        assert code.directory is not None
        found = {path.name for path in (code.directory / ".mf_code").glob("*.dist-info")}
        assert found == {"metaflow-2.19.39.dist-info", "metaflow_netflixext-1.3.17.dist-info"}
        assert json.loads((code.directory / ".mf_install").read_text()) == {"version": 1, "module_files": []}
        information = json.loads((code.directory / ".mf_meta" / "INFO").read_text())
        assert information == {"metaflow_version": "2.19.39+netflixext(1.3.17)"}


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.0+asynccache(0.1.0)", r"metaflow==2\.0 asynccache==0\.1\.0, which the run had, cannot be installed"),
        ("2.19.39+ours(1)", r"what is to be installed for ours is not known here"),
    ],
)
async def test_a_metaflow_that_cannot_be_had_is_refused_or_said(
    settings: Settings, tmp_path: Path, version: str, said: str
) -> None:
    ran(tmp_path, version)
    with pytest.raises(FetchRefusedError, match=rf"(?s){said}.*--no-strict"):
        async with fetched_code(settings, PATHSPEC, strict=True):
            pass
    async with fetched_code(settings, PATHSPEC, strict=False) as code:
        assert code.directory is None
        assert len(code.notes) == 1
