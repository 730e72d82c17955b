"""Packs from the command line: when they are made, what uses them, how damage is told and healed."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.model.platform import current_architecture
from asynccache.node.pack_format import OBJECT_NAME
from tests.cli.resolving import Commands
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.tiny_channel import write_tiny_channel

pytestmark = pytest.mark.skipif(current_architecture() != "linux-64", reason="the channel of these tests is linux-64")
RESOLVE = ("resolve", "one.yml", "--python", "3.11.*", "--alias", "team/one:v1")
CREATE = ("create", "team/one:v1", "--prefix", "made")


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    root = write_tiny_channel(tmp_path / "channel")
    (tmp_path / "one.yml").write_text("dependencies: [native]\n")
    return Commands(tmp_path, root.as_uri())


def pack_in(directory: Path) -> Path:
    (found,) = (directory / "st").rglob(OBJECT_NAME)
    return found


def damage(path: Path) -> bytes:
    whole = path.read_bytes()
    data = bytearray(whole)
    data[20] ^= 4  # in the first frame: head, index and footer are whole
    path.chmod(0o644)
    path.write_bytes(data)
    return whole


def test_the_setting_says_whether_what_is_cached_in_a_local_store_is_packed(run: Commands, tmp_path: Path) -> None:
    run(*RESOLVE)
    assert list((tmp_path / "st").rglob(OBJECT_NAME)) == []

    run(*RESOLVE, "--force", METAFLOW_CONDA_PACK="always")
    assert pack_in(tmp_path).stat().st_size > 2 * 2000

    assert "['auto', 'always', 'never']" in run("stat", code=3, METAFLOW_CONDA_PACK="sometimes").stderr


@pytest.mark.xdist_group("object-servers")
def test_what_is_cached_in_a_store_of_many_machines_is_packed(run: Commands, weed: ObjectServer) -> None:
    run.store = f"s3://{BUCKET}/{uuid4().hex}"
    run.more = {**weed.environment, "ASYNCCACHE_S3_ENDPOINT_URL": weed.url}

    def packs() -> int:
        return int(json.loads(run("verify", "--json").stdout)["environments"]["packs"])

    run(*RESOLVE, METAFLOW_CONDA_PACK="never")
    assert packs() == 0
    said = run(*RESOLVE, "--force").stderr
    assert "packing " in said
    assert said.index("packages in") < said.index("packing ")
    assert packs() == 1
    warmed = json.loads(run("warm", "--env", "team/one:v1", "--to", "remote", "--json").stdout)
    assert [pack["created"] for pack in warmed["packs"]] == [False]


def test_an_environment_is_created_from_its_pack_when_its_packages_are_not_here(run: Commands, tmp_path: Path) -> None:
    run(*RESOLVE)
    assert json.loads(run("pack", "team/one:v1", "--json").stdout)["created"] is True
    assert "is packed already" in run("pack", "team/one:v1").stdout
    for name in ("pkgs", "xdg"):
        path = tmp_path / name
        path.rename(path.with_suffix(".away")) if path.exists() else None
    for path in (tmp_path / "st" / "packages").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"nothing of this is read")

    made = json.loads(run(*CREATE, "--json").stdout)

    assert made["packed"] is True
    assert (tmp_path / "made/share/native-1.1-h2_0").exists()


def test_damage_is_told_by_key_and_healed_by_warming_from_another_machine(run: Commands, tmp_path: Path) -> None:
    run(*RESOLVE)
    run("warm", "--env", "team/one:v1", "--pack")
    pack = pack_in(tmp_path)
    whole = damage(pack)

    told = run("verify", code=5)
    assert str(pack.relative_to(tmp_path / "st")) in told.stdout
    assert "--force` makes it again" in told.stdout

    run("warm", "--env", "team/one:v1", "--pack", "--cache-dir", tmp_path / "another")
    assert pack.read_bytes() == whole
    assert "1 packs" in run("verify").stdout


def test_what_cannot_be_packed_is_told_and_the_environment_is_there(run: Commands, tmp_path: Path) -> None:
    run(*RESOLVE, METAFLOW_CONDA_PACK="always")
    pack = pack_in(tmp_path)
    pack.unlink()
    pack.mkdir()  # nothing can be stored where a directory is

    said = run(*RESOLVE, "--force", METAFLOW_CONDA_PACK="always")

    assert "has no pack, so it is made from packages" in said.stderr + said.stdout
    run(*CREATE)
