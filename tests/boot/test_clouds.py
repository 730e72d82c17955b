"""A bare node makes a packed environment from Azure or Google with nothing but the standard library."""

from __future__ import annotations

import secrets
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from asynccache.boot.ranges import Root
from asynccache.node.azure_account import azure_account
from tests.boot.conftest import Node, PackedStore
from tests.boot.killed_nodes import works
from tests.support.azurite import AzureServer
from tests.support.google_storage import CheckingProxy, GoogleServer
from tests.support.token_service import TokenService

pytestmark = pytest.mark.xdist_group("object-servers")


@dataclass
class Cloud:
    """A root, how it is reached, and who may.

    Attributes:
        root: Its address.
        endpoint: Of the service.
        variables: Credentials.
    """

    root: str
    endpoint: str
    variables: dict[str, str] = field(default_factory=dict)


def on_azure(packed: PackedStore, server: AzureServer) -> Cloud:
    prefix = f"{secrets.token_hex(6)}/conda_env"
    account = azure_account(server.url, server.environment)
    for path in packed.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            said = {"Content-Length": str(len(data)), "Content-Type": "x/y", "x-ms-blob-type": "BlockBlob"}
            address = f"{server.url}/{server.container}/{quote(f'{prefix}/{path.relative_to(packed.root)}')}"
            url, headers = account.prepare("PUT", address, said)
            urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT"), timeout=30).close()
    return Cloud(f"az://{server.container}/{prefix}", server.url, server.environment)


def on_google(packed: PackedStore, server: GoogleServer) -> Cloud:
    prefix = f"{secrets.token_hex(6)}/conda_env"
    for path in packed.root.rglob("*"):
        if path.is_file():
            name = quote(f"{prefix}/{path.relative_to(packed.root)}", safe="")
            url = f"{server.url}/upload/storage/v1/b/{server.bucket}/o?uploadType=media&name={name}"
            request = urllib.request.Request(url, path.read_bytes(), {"Content-Type": "x/y"}, method="POST")
            urllib.request.urlopen(request, timeout=30).close()
    return Cloud(f"gs://{server.bucket}/{prefix}", server.url)


@pytest.fixture(params=["azure", "google"])
def cloud(request: pytest.FixtureRequest, packed: PackedStore) -> Cloud:
    if request.param == "azure":
        return on_azure(packed, request.getfixturevalue("azurite"))
    return on_google(packed, request.getfixturevalue("google"))


@pytest.fixture
def known(
    request: pytest.FixtureRequest, packed: PackedStore, tokens: TokenService, monkeypatch: pytest.MonkeyPatch
) -> Cloud:
    """One that wants to know who asks; the parameter says who does."""
    kind = request.param
    monkeypatch.setenv("SSL_CERT_FILE", str(tokens.certificate.pem))
    if kind == "federation":
        proxy: CheckingProxy = request.getfixturevalue("google_https")
        proxy.only_reading = True
        cloud = on_google(packed, request.getfixturevalue("google"))
        return Cloud(cloud.root, proxy.url, tokens.of_google(kind))
    server: AzureServer = request.getfixturevalue("azurite_https")
    cloud = on_azure(packed, server)
    if kind == "a signature":
        cloud.variables = {**tokens.certificate.trusted, "AZURE_STORAGE_SAS_TOKEN": server.signature("r")}
    else:
        cloud.variables = tokens.of_azure(kind)
    return cloud


def test_it_is_made_from_its_pack_in_a_few_requests(
    packed: PackedStore, cloud: Cloud, tmp_path: Path, node: Node
) -> None:
    manifest = packed.manifest(tmp_path, cloud.root, endpoint_url=cloud.endpoint)
    done = node.boot(manifest, "train", **cloud.variables)
    assert (done.returncode, done.stderr) == (0, "")
    works(node)
    assert node.receipt["source"] == "pack"
    assert int(str(node.receipt["requests"])) <= 13


@pytest.mark.parametrize("known", ["workload identity", "a signature", "federation"], indirect=True)
def test_it_is_made_by_whoever_may_only_read(
    packed: PackedStore, known: Cloud, tokens: TokenService, tmp_path: Path, node: Node
) -> None:
    manifest = packed.manifest(tmp_path, known.root, endpoint_url=known.endpoint)
    done = node.boot(manifest, "train", **known.variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert node.receipt["source"] == "pack"
    assert len(tokens.given) <= 1


@pytest.mark.parametrize("known", ["workload identity"], indirect=True)
def test_a_token_that_the_store_does_not_take_is_told_without_it(
    packed: PackedStore, known: Cloud, tokens: TokenService, tmp_path: Path, node: Node
) -> None:
    tokens.late = 2 * tokens.lifetime
    done = node.boot(packed.manifest(tmp_path, known.root, endpoint_url=known.endpoint), "train", **known.variables)
    assert done.returncode == 1
    assert "asked with DefaultAzureCredential (WorkloadIdentityCredential), the server answers 403" in done.stdout
    assert not any(token in done.stdout + done.stderr for token in tokens.tokens)
    tokens.secret = "another"
    done = node.boot(packed.manifest(tmp_path, known.root, endpoint_url=known.endpoint), "train", **known.variables)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"{known.root}/" in done.stderr
    assert "cannot be read: Azure refuses the identity of this machine (AADSTS7000215)" in done.stderr


def test_an_object_that_is_not_there_is_named(packed: PackedStore, cloud: Cloud, tmp_path: Path, node: Node) -> None:
    manifest = packed.manifest(tmp_path, cloud.root + "/elsewhere", endpoint_url=cloud.endpoint)
    done = node.boot(manifest, "train", **cloud.variables)
    assert done.returncode == 1
    assert f"there is no {cloud.root}/elsewhere/" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_of_its_own_is_told_the_account_and_the_signature_that_the_node_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT", "https://node.test/?sv=1&sig=2")
    said = Root("az://container/envs", "https://launch.test").variables()
    account = azure_account(said["ASYNCCACHE_AZURE_ENDPOINT"], said)
    url, _headers = account.prepare("GET", f"{account.endpoint}/container/envs", {})
    assert url == "https://node.test/container/envs?sv=1&sig=2"


def test_without_credentials_the_message_says_what_to_set(
    packed: PackedStore, azurite: AzureServer, tmp_path: Path, node: Node
) -> None:
    done = node.boot(packed.manifest(tmp_path, "az://container/envs", endpoint_url=azurite.url), "train")
    assert done.returncode == 1
    assert "set an account key (AZURE_STORAGE_KEY) or a signature" in done.stderr
    missing = str(tmp_path / "missing.json")
    manifest = packed.manifest(tmp_path, "gs://bucket/envs")
    done = node.boot(manifest, "train", GOOGLE_APPLICATION_CREDENTIALS=missing)
    assert done.returncode == 1
    assert "gs://bucket/envs" in done.stderr
    assert "google-auth" in done.stderr or "no identity of Google was found" in done.stderr
    assert "Traceback" not in done.stderr
