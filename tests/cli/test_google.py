"""The life of an environment whose cache is a bucket of Google Cloud Storage, against fake-gcs-server."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.model.platform import current_architecture
from tests.cli.resolving import Commands
from tests.support.google_storage import GoogleServer
from tests.support.tiny_channel import write_tiny_channel

pytestmark = [
    pytest.mark.xdist_group("object-servers"),
    pytest.mark.skipif(current_architecture() != "linux-64", reason="the channel of these tests is linux-64"),
]


@pytest.fixture
def run(tmp_path: Path, google: GoogleServer) -> Commands:
    root = write_tiny_channel(tmp_path / "channel")
    (tmp_path / "one.yml").write_text("dependencies: [native]\n")
    more = {"STORAGE_EMULATOR_HOST": google.url}
    return Commands(tmp_path, root.as_uri(), "", more, f"gs://{google.bucket}/{uuid4().hex}/conda_env")


def test_it_is_resolved_cached_packed_verified_converted_and_made_on_another_machine(
    run: Commands, tmp_path: Path
) -> None:
    run("resolve", "one.yml", "--python", "3.11.*", "--alias", "team/one:v1")
    assert "team/one:v1" in run("env", "ls").stdout
    run("backfill", "--to", ".conda")
    report = json.loads(run("verify", "--json").stdout)
    assert report["environments"]["packs"] == 1
    assert "with no credentials, as an emulator is asked" in run("doctor", code=None).stdout

    run.more |= {"XDG_CACHE_HOME": str(tmp_path / "elsewhere"), "ASYNCCACHE_CHANNELS": "[]"}
    made = json.loads(run("create", "team/one:v1", "--prefix", "made", "--json").stdout)
    assert made["packed"] is True
    assert (tmp_path / "made/share/native-1.1-h2_0").exists()


def test_a_bucket_that_is_not_there_and_missing_credentials_are_told_in_a_sentence(run: Commands) -> None:
    run.store = f"gs://nowhere-{uuid4().hex}/envs"
    said = run("ls", code=None)
    assert said.returncode == 9
    assert f"the bucket of {run.store} does not exist" in said.stderr
    nobody = run(
        "ls", code=None, STORAGE_EMULATOR_HOST="", GOOGLE_APPLICATION_CREDENTIALS=str(run.directory / "missing.json")
    )
    assert nobody.returncode == 18
    assert "no identity of Google was found" in nobody.stderr
    assert "set Application Default Credentials" in nobody.stderr
