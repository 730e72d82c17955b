"""On a file system without file locks every command goes on, says so once, and refuses what would harm others."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.model.digest import digest_file
from asynccache.model.platform import current_architecture
from tests.support.channel import cached_channel
from tests.support.channel_index import write_index
from tests.support.command_line import items_of
from tests.support.file_locks import site_without_file_locks
from tests.support.hydration import channel_paths

ASYNCCACHE = str(Path(sys.executable).with_name("asynccache"))
NAMES = ("feature-symlinks", "feature-activate", "feature-prefix-text")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    site = site_without_file_locks(tmp_path / "site")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "CONDA_", "XDG_"))}
    environment = {
        **kept,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "xdg"),
        "METAFLOW_USER": "ann",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path / "ds"),
        "ASYNCCACHE_STORE": str(tmp_path / "store"),
        "ASYNCCACHE_CHANNELS": "[]",
        "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
        "PYTHONPATH": str(site),
    }

    def call(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [ASYNCCACHE, *map(str, arguments)],
            capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert result.returncode == code, result.stderr + result.stdout
        assert "Traceback" not in result.stderr
        warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: files in")]
        assert len(warnings) == len(set(warnings)), "each directory is said once"
        return result

    return call


def test_every_command_goes_on_and_says_so_once(run: Run, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    for name in (current_architecture(), "noarch"):
        (channel / name).mkdir(parents=True)
    paths = channel_paths(cached_channel("small"), *NAMES)
    for path in [*paths, *channel_paths(cached_channel("small"), "python", "python_abi", "tzdata", "six")]:
        shutil.copy(path, channel / path.parent.name)
    write_index(channel)
    (tmp_path / "list.txt").write_text(
        "@EXPLICIT\n" + "\n".join(f"{p.as_uri()}#{digest_file(str(p), 'md5').md5}" for p in paths)
    )
    requirements = f"channels:\n  - {channel.as_uri()}\ndependencies:\n  - python=3.*\n  - six\n"
    (tmp_path / "environment.yml").write_text(requirements)

    said = run("cache", "--from", "list.txt").stderr
    assert f"files in {tmp_path}/xdg/asynccache/locks cannot be locked (" in said
    run("resolve", "-f", "environment.yml", "--alias", "team/resolved:v1")
    run("env", "import", "list.txt", "--alias", "team/light:v1")
    run("env", "alias", "team/light:v1", "team/moves:latest")
    run("env", "alias", "team/resolved:v1", "team/moves:latest")
    listed = run("env", "ls").stdout
    assert all(alias in listed for alias in ("team/light:v1", "team/resolved:v1", "team/moves:latest")), listed
    run("warm", "--env", "team/light:v1")
    run("pack", "team/light:v1")
    prefix = run("create", "team/light:v1", "--quiet").stdout.strip().removesuffix("/bin/python")
    run("create", "team/light:v1", "--prefix", tmp_path / "elsewhere")
    assert run("run", "team/light:v1", "--", "sh", "-c", "echo $CONDA_PREFIX").stdout.strip() == prefix
    assert len(items_of(run("envs", "--json").stdout)) == 2
    run("verify")
    run("rm", prefix)
    run("rm", tmp_path / "elsewhere")
    assert [*(tmp_path / "xdg/asynccache/envs").iterdir(), *(tmp_path / "xdg/asynccache/work").iterdir()] == []

    refused = run("clean", "--older-than", "0s", code=8).stderr.splitlines()
    assert len(refused) == 1
    assert f"files in {tmp_path}/xdg/asynccache/pkgs cannot be locked" in refused[0]
    assert list((tmp_path / "xdg/asynccache/pkgs").glob("feature-*"))
