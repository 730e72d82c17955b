"""Metaflow's settings DEFAULT_AZURE_CLIENT_PROVIDER and DEFAULT_GCP_CLIENT_PROVIDER: tokens of a user's own plugin."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.azurite import AzureServer
from tests.support.google_storage import CheckingProxy
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.object_servers import BUCKET
from tests.support.token_service import TokenService

pytestmark = pytest.mark.xdist_group("object-servers")
PLUGIN = """
class Login:
    valid = True

    def __init__(self):
        with open(__file__.replace("team_provider.py", "login")) as file:
            self.token = file.read()
        self.expires_on = 4e9

    def get_token(self, *scopes):
        return self


class TeamProvider:
    name = "team"

    @staticmethod
    def create_cacheable_azure_credential():
        return Login()

    @staticmethod
    def get_credentials(scopes):
        return Login(), "project"
"""
PROGRAM = """
import asyncio
import json
import os
import sys
from asynccache.boot.ranges import Root
from asynccache.config import load_settings
from asynccache.errors import AsyncCacheError
from asynccache.metaflow.node_manifest import node_manifest
from asynccache.boot.manifest import Manifest
from asynccache.store.open import open_store
from asynccache.store.options import store_options


async def kept():
    settings = load_settings().settings
    async with open_store(settings.root, store_options(settings)) as store:
        await store.put("a", b"content", if_absent=True)
        return [(await store.get("a")).decode(), store.asked_with]


async def read():
    manifest = Manifest(await node_manifest(load_settings().settings, {}), "it")
    variable = "METAFLOW_DEFAULT_%s_CLIENT_PROVIDER" % sys.argv[1]
    provider = os.environ.pop(variable)  # a node has the manifest alone
    try:
        root = Root(manifest.root, manifest.endpoint_url, manifest.client)
        return [root.object("a").read(0, 7).decode(), sorted(root.variables())]
    finally:
        os.environ[variable] = provider


def attempt(work):
    try:
        return asyncio.run(work())
    except AsyncCacheError as error:
        return [type(error).__name__, str(error)]


found = {}
for provider in ("team", "nobody"):
    os.environ["METAFLOW_DEFAULT_%s_CLIENT_PROVIDER" % sys.argv[1]] = provider
    found[provider] = [attempt(kept), attempt(read)]
print(json.dumps(found))
"""


@pytest.mark.parametrize(("cloud", "datastore"), [("AZURE", "azure"), ("GCP", "gs")])
def test_tokens_come_from_the_plugin_that_is_named(
    azurite_https: AzureServer,
    google_https: CheckingProxy,
    tokens: TokenService,
    tmp_path: Path,
    cloud: str,
    datastore: str,
) -> None:
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    plugins = tmp_path / "metaflow_extensions" / "team" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "mfextinit_team.py").write_text(
        f'{cloud}_CLIENT_PROVIDERS_DESC = [("team", ".team_provider.TeamProvider")]\n'
    )
    (plugins / "team_provider.py").write_text(PLUGIN)
    (plugins / "login").write_text(tokens.token())

    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "METAFLOW_DEFAULT_DATASTORE": datastore,
        "METAFLOW_CONDA_AZUREROOT": f"{BUCKET}/{uuid4().hex}",
        "METAFLOW_CONDA_GSROOT": f"gs://{BUCKET}/{uuid4().hex}",
        "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": azurite_https.url,
        "ASYNCCACHE_GOOGLE_ENDPOINT": google_https.url,
        **tokens.certificate.trusted,
    }

    done = subprocess.run(
        [str(python), "-c", PROGRAM, cloud], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[object]]] = json.loads(done.stdout.splitlines()[-1])
    service = "AZURE" if cloud == "AZURE" else "GOOGLE"
    assert found["team"] == [
        ["content", "a token of Metaflow's provider team"],
        ["content", [f"ASYNCCACHE_{service}_ENDPOINT", f"ASYNCCACHE_{service}_TOKEN"]],
    ]
    built_in = "azure-default" if cloud == "AZURE" else "gcp-default"
    for kind, said in found["nobody"]:
        assert kind in {"ConfigurationError", "HydrationError"}
        assert (
            f"METAFLOW_DEFAULT_{cloud}_CLIENT_PROVIDER names 'nobody', which is no plugin of the installed Metaflow:"
            f" expected {built_in}, team; install the extension that provides it"
        ) in str(said)
