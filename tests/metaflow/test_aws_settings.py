"""Metaflow's setting DEFAULT_AWS_CLIENT_PROVIDER: credentials of a plugin reach the store and nodes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.store.conftest import new_root
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.object_servers import ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")
PLUGIN = """
import boto3


class TeamProvider:
    name = "team"

    @staticmethod
    def get_client(module, with_error=False, role_arn=None, session_vars=None, client_params=None):
        with open(__file__.replace("team_provider.py", "login")) as file:
            access, secret = file.read().split()
        session = boto3.session.Session(aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1")
        return session.client(module, **(client_params or {}))
"""
PROGRAM = """
import asyncio
import json
import os
import sys
from asynccache.boot.ranges import Root
from asynccache.config import load_settings
from asynccache.errors import AsyncCacheError
from asynccache.store.open import open_store
from asynccache.store.options import store_options


async def kept():
    settings = load_settings().settings
    async with open_store(settings.root, store_options(settings)) as store:
        await store.put("a", b"content", if_absent=True)
        return (await store.get("a")).decode()


def read():
    settings = load_settings().settings
    root = Root(str(settings.root), settings.s3_endpoint_url, {"provider": settings.s3_client_provider, "tries": None})
    return [root.object("a").read(0, 7).decode(), root.variables()]


def attempt(work):
    try:
        return work()
    except AsyncCacheError as error:
        return str(error)


found = {}
for provider in ("team", "nobody"):
    os.environ["METAFLOW_DEFAULT_AWS_CLIENT_PROVIDER"] = provider
    found[provider] = [attempt(lambda: asyncio.run(kept())), attempt(read)]
print(json.dumps(found))
"""


def test_credentials_come_from_the_plugin_that_is_named(weed: ObjectServer, tmp_path: Path) -> None:
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    plugins = tmp_path / "metaflow_extensions" / "team" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "mfextinit_team.py").write_text(
        'AWS_CLIENT_PROVIDERS_DESC = [("team", ".team_provider.TeamProvider")]\n'
    )
    (plugins / "team_provider.py").write_text(PLUGIN)
    (plugins / "login").write_text(f"{weed.access_key} {weed.secret_key}")

    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_CONDA_S3ROOT": str(new_root(weed.url)),
        "METAFLOW_S3_ENDPOINT_URL": weed.url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    done = subprocess.run(
        [str(python), "-c", PROGRAM], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout.splitlines()[-1])
    kept, read = found["team"]
    assert kept == "content"
    # for an engine of a node that has no Metaflow
    login = {"AWS_ACCESS_KEY_ID": weed.access_key, "AWS_SECRET_ACCESS_KEY": weed.secret_key, "AWS_SESSION_TOKEN": ""}
    place = {"ASYNCCACHE_S3_ENDPOINT_URL": weed.url, "ASYNCCACHE_S3_CLIENT_PROVIDER": "boto3"}
    assert read == ["content", {**place, **login}]
    for said in found["nobody"]:
        assert str(said).startswith(
            "METAFLOW_DEFAULT_AWS_CLIENT_PROVIDER names 'nobody', which is no plugin of the installed Metaflow:"
            " expected boto3, team"
        ), said
