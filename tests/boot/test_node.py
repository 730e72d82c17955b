"""A bare node makes a packed environment with whatever Python it has, once, whole, and says what went wrong."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.leases import Lease, remove_leases
from asynccache.model.platform import current_architecture
from asynccache.node import pack_format as packs
from asynccache.ops.collect import Collector
from asynccache.ops.collect_rules import DAY, Rules
from asynccache.ops.leasing import write_lease
from asynccache.store.local import LocalStore
from tests.boot.conftest import REPOSITORY, Node, PackedStore
from tests.boot.killed_nodes import kill_nodes, works
from tests.support.effort import tries
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.file_locks import site_without_file_locks
from tests.support.interpreters import interpreters
from tests.support.object_servers import BUCKET, ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")
WITHOUT = ("compression.zstd", "backports.zstd", "zstandard")
KILLS = tries(6, 20)


@pytest.mark.parametrize("version", sorted(interpreters()))
def test_every_python_of_this_machine_makes_it(packed: PackedStore, tmp_path: Path, version: str) -> None:
    node = Node(tmp_path / "node", interpreters()[version])
    done = node.boot(packed.manifest(tmp_path), "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert "made from its pack" in done.stdout
    assert json.loads((node.home / "_env_id").read_text()) == list(packed.triple)
    assert not (node.home / "_env_path").read_text().endswith("\n")
    assert json.loads((node.prefix / ".metaflowenv").read_text()) == list(packed.triple)
    assert node.prefix.name == "metaflow_{}_{}".format(*packed.triple[:2])
    works(node)
    assert (node.prefix / "var/feature-post-link.txt").exists()
    assert node.hidden() == []
    assert node.receipt["source"] == "pack"
    assert int(str(node.receipt["requests"])) <= 12


def test_a_second_task_finds_it(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    manifest = packed.manifest(tmp_path, packs={":".join(packed.triple): {"digest": packed.pack.digest}})
    assert node.boot(manifest, packed.ids).returncode == 0
    done = node.boot(manifest, packed.ids)
    assert done.returncode == 0
    assert node.receipt["source"] == "present"
    assert node.receipt["requests"] == 0


def test_tasks_that_start_together_make_it_once(packed: PackedStore, tmp_path: Path) -> None:
    manifest = packed.manifest(tmp_path)
    node = Node(tmp_path / "node")
    (node.home / "0").mkdir(parents=True)
    started = []
    for number in range(8):
        directory = node.home / str(number)
        directory.mkdir(exist_ok=True)
        started.append(
            subprocess.Popen(
                node.command(manifest, "train"), cwd=directory, env=node.environ(), stdout=subprocess.DEVNULL
            )
        )
    assert [process.wait(100) for process in started] == [0] * 8
    sources = [json.loads((node.home / str(n) / "_asynccache_receipt.json").read_text())["source"] for n in range(8)]
    assert sorted(sources) == ["pack"] + ["present"] * 7
    assert node.hidden() == []
    assert [path.name for path in (node.home / ".cache/asynccache").iterdir()] == ["envs"]


@pytest.mark.slow
def test_killed_at_any_moment_it_is_made_by_the_next_try(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    assert kill_nodes(node, packed.manifest(tmp_path), KILLS, 7, files=packed.pack.files) == KILLS


@pytest.mark.parametrize("place", ["frame", "index", "end"])
def test_damage_is_one_clear_sentence_and_leaves_nothing(packed: PackedStore, tmp_path: Path, place: str) -> None:
    store = packed.copy(tmp_path / "store")
    path = store.root / store.pack.key
    data = bytearray(path.read_bytes())
    if place == "end":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 if place == "frame" else -packs.FOOTER_BYTES - 10] ^= 1
    path.unlink()
    path.write_bytes(data)
    node = Node(tmp_path / "node")
    done = node.boot(store.manifest(tmp_path), "train")
    assert done.returncode == 1
    assert done.stderr.startswith("asynccache: error: the packed environment is damaged")
    assert "no bundle is published" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list((node.home / ".cache/asynccache/envs").iterdir()) == []
    assert not (node.home / "__conda_python").exists()


def test_what_is_not_there_is_said(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    manifest = packed.manifest(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = packed.manifest(tmp_path / "elsewhere", "ftp://host/x")
    for words, told in [
        ((tmp_path / "none.json", "train"), "cannot be read"),
        ((manifest, "evaluate"), "has no environment for 'evaluate'; its steps: ['train']"),
        ((manifest, f"{'0' * 40}:{'1' * 40}"), "there is no"),
        ((elsewhere, "train"), "ftp://host/x cannot be read here"),
    ]:
        done = node.boot(*words)
        assert done.returncode == 1
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


class Later(LocalStore):
    """A store some time after its objects were written."""

    later = 100 * DAY

    def timestamp(self) -> float:
        return super().timestamp() + self.later


async def swept(root: Path) -> set[str]:
    """Collect what nothing keeps; return of what kinds that was."""
    store, keys = Later(root), CatalogKeys()
    rules = Rules(keep_days=30, unreferenced=True)
    async with store:
        await Collector(store, rules, keys, "packages").run()
        store.later += DAY
        done = await Collector(store, rules, keys, "packages").run()
    done.raise_for_failures()
    return {*done.swept.by_kind}


async def test_what_was_deployed_starts_after_a_collection_for_as_long_as_its_lease_is_there(
    packed: PackedStore, tmp_path: Path
) -> None:
    packed = packed.copy(tmp_path / "store")
    manifest = packed.manifest(tmp_path)  # names ids, as what is deployed does
    await EnvironmentDocuments(LocalStore(packed.root)).put(packed.environment)
    lease = Lease.new(LocalStore(packed.root), "argo-workflows", "flow", [packed.environment.id], flow="Flow")
    await write_lease(LocalStore(packed.root), CatalogKeys(), lease)
    assert await swept(packed.root) <= {"writers"}
    node = Node(tmp_path / "node")
    done = await asyncio.to_thread(node.boot, manifest, "train")
    assert (done.returncode, done.stderr) == (0, "")
    works(node)

    await remove_leases(LocalStore(packed.root), lease.name)
    assert await swept(packed.root) >= {"environment", "package"}
    done = await asyncio.to_thread(Node(tmp_path / "another").boot, manifest, "train")
    assert (done.returncode, "there is no" in done.stderr) == (1, True)


def test_another_pack_than_the_manifest_says_is_not_taken(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    manifest = packed.manifest(tmp_path, packs={":".join(packed.triple): {"digest": "0" * 64}})
    done = node.boot(manifest, "train")
    assert done.returncode == 1
    assert "is another pack than the manifest says" in done.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_directory_that_cannot_be_written_is_said(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    (tmp_path / "envs").mkdir(mode=0o500)
    done = node.boot(packed.manifest(tmp_path), "train", "--envs", tmp_path / "envs")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_an_environments_directory_that_is_a_file_is_said(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    (tmp_path / "file").touch()
    done = node.boot(packed.manifest(tmp_path), "train", "--envs", tmp_path / "file" / "envs")
    assert done.returncode == 1
    assert "no directory for environments" in done.stderr


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.STATUS, "*pack*", times=4, status=503),
        Fault(Kind.DROP, "*pack*", times=3),
        Fault(Kind.RESET, "*pack*", times=3, skip=1),
    ],
    ids=["503", "drop", "reset"],
)
async def test_a_server_that_fails_for_a_while_is_waited_for(
    packed: PackedStore, tmp_path: Path, node: Node, fault: Fault
) -> None:
    import asyncio

    async with FaultServer(packed.root, faults=[fault]) as server:
        done = await asyncio.to_thread(node.boot, packed.manifest(tmp_path, server.url), "train")
        assert (done.returncode, done.stderr) == (0, "")
        asked = [r for r in server.requests if "pack" in r.path]
    works(node)
    assert len(asked) <= 12 + 4
    assert node.receipt["source"] == "pack"


async def test_a_pack_is_read_with_few_requests(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    import asyncio

    async with FaultServer(packed.root, latency=0.01) as server:
        done = await asyncio.to_thread(node.boot, packed.manifest(tmp_path, server.url), "train")
        assert done.returncode == 0
        assert len(server.requests) <= 12
        assert len(server.requests) == node.receipt["requests"]


async def test_a_server_without_ranges_is_refused(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    import asyncio

    async with FaultServer(packed.root, ranges=False) as server:
        done = await asyncio.to_thread(node.boot, packed.manifest(tmp_path, server.url), "train")
    assert done.returncode == 1
    assert "does not answer ranges" in done.stderr


def test_s3_is_read_by_boto3(packed: PackedStore, tmp_path: Path, node: Node, moto: ObjectServer) -> None:
    root = f"{BUCKET}/{uuid4().hex}/root"
    client = moto.client()
    data = (packed.root / packed.pack.key).read_bytes()
    client.put_object(Bucket=BUCKET, Key=f"{root.partition('/')[2]}/{packed.pack.key}", Body=data)
    client.close()
    manifest = packed.manifest(tmp_path, f"s3://{root}", endpoint_url=moto.url)
    done = node.boot(manifest, "train", **moto.environment)
    assert (done.returncode, done.stderr) == (0, "")
    works(node)
    missing = node.boot(manifest, f"{'0' * 40}:{'1' * 40}", **moto.environment)
    assert missing.returncode == 1
    assert f"there is no s3://{root}/envs/" in missing.stderr


def test_an_interpreter_without_zstd_uses_the_library_of_the_system(
    packed: PackedStore, tmp_path: Path, node: Node
) -> None:
    node.lacks = WITHOUT
    done = node.boot(packed.manifest(tmp_path), "train")
    assert done.returncode == 0
    assert node.receipt["decoder"] == "libzstd"
    works(node)


def test_without_any_decoder_the_message_says_what_to_install(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    node.lacks = (*WITHOUT, "libzstd")
    done = node.boot(packed.manifest(tmp_path), "train")
    assert done.returncode == 1
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-{current_architecture()}"
    assert f"no zstd decoder and the cache none for {tag}" in done.stderr


def test_where_files_cannot_be_locked_it_is_made_all_the_same(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    path = f"{site_without_file_locks(tmp_path / 'site')}{os.pathsep}{REPOSITORY}"
    manifest = packed.manifest(tmp_path)
    started = [node.start(manifest, "train", PYTHONPATH=path) for _ in range(2)]
    said = [process.communicate(timeout=100) for process in started]
    assert [(process.returncode, err) for process, (_out, err) in zip(started, said, strict=True)] == [(0, "")] * 2
    warned = [out.count("cannot be locked") for out, _err in said]
    assert max(warned) == 1
    works(node)
    assert node.hidden() == []
    assert node.boot(manifest, "train", PYTHONPATH=path).returncode == 0
    assert node.receipt["source"] == "present"


def test_the_environment_that_create_made_serves_a_step(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    manifest = packed.manifest(tmp_path)
    assert node.boot(manifest, "train").returncode == 0
    other = node.prefix.with_name(node.prefix.name.replace("metaflow_", "metaflowtmp_"))
    node.prefix.rename(other)
    assert node.boot(manifest, "train").returncode == 0
    assert (node.receipt["source"], node.prefix) == ("present", other)


def test_what_other_programs_do_with_the_directory_is_waited_for(
    packed: PackedStore, tmp_path: Path, node: Node
) -> None:
    envs = node.home / ".cache/asynccache/envs"
    envs.mkdir(parents=True)
    (envs / "mf_env-creation.lock").touch()
    done = node.boot(packed.manifest(tmp_path, lock_timeout=0.3), "train")
    assert done.returncode == 1
    assert "mf_env-creation.lock was held by another program for 0.3 seconds" in done.stderr
    assert [path.name for path in envs.iterdir()] == ["mf_env-creation.lock"]


def test_what_is_not_ours_is_not_replaced(packed: PackedStore, tmp_path: Path, node: Node) -> None:
    envs = node.home / ".cache/asynccache/envs"
    envs.mkdir(parents=True)
    place = envs / "metaflow_{}_{}".format(*packed.triple[:2])
    place.write_text("mine")
    done = node.boot(packed.manifest(tmp_path), "train")
    assert done.returncode == 1
    assert done.stderr == f"asynccache: error: {place} exists and is no directory; choose another place\n"
    assert place.read_text() == "mine"
