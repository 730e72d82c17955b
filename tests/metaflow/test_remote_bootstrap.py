"""What a node is told where no code package tells it: Metaflow's variables."""

import pytest

from asynccache.boot.ranges import Root
from asynccache.errors import AsyncCacheError
from asynccache.metaflow.remote_bootstrap import from_variables


@pytest.mark.parametrize(
    ("datastore", "variables", "root"),
    [
        ("s3", {"METAFLOW_CONDA_S3ROOT": "s3://b/x"}, "s3://b/x"),
        ("s3", {"METAFLOW_DATASTORE_SYSROOT_S3": "s3://b/mf/"}, "s3://b/mf/conda_env"),
        ("s3", {"METAFLOW_CONDA_S3ROOT": "", "METAFLOW_DATASTORE_SYSROOT_S3": "s3://b/mf"}, "s3://b/mf/conda_env"),
        ("local", {"METAFLOW_CONDA_S3ROOT": "s3://b/x", "METAFLOW_CONDA_LOCALROOT": "/c"}, "/c"),
        ("local", {"METAFLOW_CONDA_S3ROOT": "s3://b/x"}, None),
        ("unknown", {"METAFLOW_CONDA_S3ROOT": "s3://b/x"}, "s3://b/x"),
        ("azure", {"METAFLOW_CONDA_AZUREROOT": "/container/x/"}, "az://container/x"),
        ("azure", {"METAFLOW_DATASTORE_SYSROOT_AZURE": "container/mf"}, "az://container/mf/conda_env"),
        ("gs", {"METAFLOW_DATASTORE_SYSROOT_GS": "gs://b/mf"}, "gs://b/mf/conda_env"),
    ],
)
def test_the_root_follows_from_the_datastore_and_metaflows_variables(
    datastore: str, variables: dict[str, str], root: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("S3", "AZURE", "GS", "LOCAL"):
        monkeypatch.delenv(f"METAFLOW_CONDA_{name}ROOT", raising=False)
        monkeypatch.delenv(f"METAFLOW_DATASTORE_SYSROOT_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert from_variables(datastore)["root"] == root


@pytest.mark.parametrize(("datastore", "endpoint"), [("s3", "http://s3"), ("azure", None), ("gs", "http://google:1")])
def test_an_address_is_that_of_the_datastores_own_service(
    datastore: str, endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", "http://s3")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "google:1")
    assert from_variables(datastore)["endpoint_url"] == endpoint


def test_a_node_never_takes_azures_root_for_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_CONDA_AZUREROOT", "container/x")
    with pytest.raises(AsyncCacheError, match="nothing says which account of Azure holds az://container/x"):
        Root(str(from_variables("azure")["root"]))
