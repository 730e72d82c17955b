"""Without packs, nodes make environments from packages by the engine's bundle, configured or published on first use."""

import json
from pathlib import Path

import pytest

from asynccache.node.pack_format import OBJECT_NAME
from tests.metaflow.remote import remote_bed
from tests.support.datastores import BUCKET, SYSROOTS

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1500)]
PROGRAM = "from asynccache_cli.main import main; main()"


@pytest.mark.parametrize("configured", [True, False])
def test_a_node_makes_its_environment_from_packages_where_nothing_is_packed(tmp_path: Path, configured: bool) -> None:
    with remote_bed(tmp_path / "bed", chroot=False) as bed:
        variables = {"METAFLOW_CONDA_PACK": "never"}
        expected = "asynccache/bundles/"
        if configured:
            variables |= {
                "METAFLOW_CONDA_REMOTE_INSTALLER_DIRNAME": "tools/{arch}",
                "METAFLOW_CONDA_REMOTE_INSTALLER": "engine-{arch}",
            }
            expected = "tools/linux-64/engine-linux-64"
            store = {"ASYNCCACHE_STORE": SYSROOTS["s3"] + "/conda_env"}
            words = [str(bed.python), "-c", PROGRAM, "installer", "publish"]
            done = bed.cloud._run(words, variables | store)
            assert done.returncode == 0, done.stdout
        bed.flow("one_step_flow.py", "run", "--with", "batch", variables=variables)

        assert bed.artifact("OneStepFlow", "end", "found")[:2] == ["1.17.0", "3.10"]
        assert any("Making the environment from packages" in container.output for container in bed.containers)
        client = bed.cloud.objects.client()
        keys = [
            each["Key"]
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            for each in page.get("Contents", [])
        ]
        client.close()
        assert not [key for key in keys if key.endswith(OBJECT_NAME)]
        engines = [key for key in keys if "/bundles/" in key or "/tools/" in key]
        assert len(engines) == 2  # with what says its size and digest
        assert all(expected in key for key in engines)


@pytest.mark.parametrize("datastore", ["azure", "gs"])
def test_a_node_of_another_cloud_makes_its_environment_from_packages_too(tmp_path: Path, datastore: str) -> None:
    with remote_bed(tmp_path / "bed", chroot=False, datastore=datastore) as bed:
        bed.flow("one_step_flow.py", "run", "--with", "kubernetes", variables={"METAFLOW_CONDA_PACK": "never"})

        assert bed.artifact("OneStepFlow", "end", "found")[:2] == ["1.17.0", "3.10"]
        said = bed.cloud.look(bed.python, "Flow('OneStepFlow').latest_run['start'].task.metadata_dict")
        assert json.loads(said["conda_env_receipt"])["source"] == "packages"
