"""The life of an environment whose cache is a container of Azure Storage, against Azurite."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.model.platform import current_architecture
from tests.cli.resolving import Commands
from tests.support.azurite import AzureServer
from tests.support.command_line import run_command
from tests.support.object_servers import BUCKET
from tests.support.tiny_channel import write_tiny_channel
from tests.support.token_service import TokenService

pytestmark = [
    pytest.mark.xdist_group("object-servers"),
    pytest.mark.skipif(current_architecture() != "linux-64", reason="the channel of these tests is linux-64"),
]


def commands(directory: Path, server: AzureServer, variables: dict[str, str]) -> Commands:
    root = write_tiny_channel(directory / "channel")
    (directory / "one.yml").write_text("dependencies: [native]\n")
    more = {**variables, "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": server.url}
    return Commands(directory, root.as_uri(), "", more, f"az://{BUCKET}/{uuid4().hex}/conda_env")


@pytest.fixture
def run(tmp_path: Path, azurite: AzureServer) -> Commands:
    return commands(tmp_path, azurite, azurite.environment)


def test_it_is_resolved_cached_packed_verified_converted_and_made_on_another_machine(
    run: Commands, tmp_path: Path, azurite: AzureServer
) -> None:
    run("resolve", "one.yml", "--python", "3.11.*", "--alias", "team/one:v1")
    assert "team/one:v1" in run("env", "ls").stdout
    run("backfill", "--to", ".conda")
    report = json.loads(run("verify", "--json").stdout)
    assert report["environments"]["packs"] == 1
    assert json.loads(run("stat", "--json").stdout)["packages"]
    checks = run("doctor", code=None).stdout
    assert "an account key" in checks

    run.more |= {"XDG_CACHE_HOME": str(tmp_path / "elsewhere"), "ASYNCCACHE_CHANNELS": "[]"}
    made = json.loads(run("create", "team/one:v1", "--prefix", "made", "--json").stdout)
    assert made["packed"] is True
    assert (tmp_path / "made/share/native-1.1-h2_0").exists()
    assert azurite.key not in "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    )


def test_a_container_that_is_not_there_and_a_wrong_key_are_told_in_a_sentence(
    run: Commands, azurite: AzureServer
) -> None:
    run.store = f"az://nowhere-{uuid4().hex}/envs"
    said = run("ls", code=None)
    assert said.returncode == 9
    assert f"the container of {run.store} does not exist" in said.stderr
    wrong = run("ls", code=None, AZURE_STORAGE_KEY="d3Jvbmc=")
    assert wrong.returncode == 18
    assert f"access to {run.store} is denied (AuthorizationFailure)" in wrong.stderr  # as Azurite calls it
    assert "Storage Blob Data Reader" in wrong.stderr
    nobody = run("ls", code=None, AZURE_STORAGE_KEY="")
    assert nobody.returncode == 3
    assert "a token is sent by https only" in nobody.stderr
    assert "set an account key (AZURE_STORAGE_KEY) or a signature" in nobody.stderr
    nameless = run("ls", code=None, METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT="")
    assert "nothing says which account of Azure holds" in nameless.stderr


def test_a_workload_identity_publishes_and_makes_environments_and_no_token_stays_anywhere(
    tmp_path: Path, azurite_https: AzureServer, tokens: TokenService
) -> None:
    run = commands(tmp_path / "home", azurite_https, tokens.of_azure("workload identity"))
    said = [run("resolve", "one.yml", "--python", "3.11.*", "--alias", "team/one:v1")]
    run.more |= {"XDG_CACHE_HOME": str(tmp_path / "elsewhere"), "ASYNCCACHE_CHANNELS": "[]"}
    said.append(run("create", "team/one:v1", "--prefix", "made"))
    assert (tmp_path / "home/made/share/native-1.1-h2_0").exists()
    assert tokens.given == ["an assertion"] * 2

    tokens.secret = "another"
    said.append(run("ls", code=18))
    assert said[-1].stderr.startswith("error: Azure refuses the identity of this machine (AADSTS7000215); check AZURE_")
    assert len(said[-1].stderr.splitlines()) == 1
    said.append(run_command(["--debug", "ls", "--store", run.store], cwd=run.directory, env=run.environment()))
    assert (said[-1].returncode, "Traceback" in said[-1].stderr) == (18, True)
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != tokens.files / "federated"]
    kept += [f"{each.stdout}{each.stderr}".encode() for each in said]
    federated = (tokens.files / "federated").read_bytes()
    for secret in (federated, *(token.encode() for token in tokens.tokens)):
        assert not any(secret in text for text in kept)
