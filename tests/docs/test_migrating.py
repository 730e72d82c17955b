"""What the page on migrating has teams do, step by step, does what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.model.platform import current_architecture
from tests.cli.resolving import serve
from tests.support.azurite import AzureServer
from tests.support.google_storage import GoogleServer
from tests.support.object_servers import ObjectServer
from tests.support.pypi_index import PyPIIndex, write_distribution
from tests.support.tiny_channel import write_tiny_channel

pytestmark = [
    pytest.mark.xdist_group("object-servers"),
    pytest.mark.skipif(current_architecture() != "linux-64", reason="the channel has builds for Linux"),
]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrating.md").read_text("utf-8")
SECRET = "s3cret-word"


class Team:
    """Somebody's home, and what is set there.

    Args:
        home: A new directory.
        channel: Address of the only channel.
    """

    def __init__(self, home: Path, channel: str) -> None:
        self.home = home
        home.mkdir()
        (home / "environment.yml").write_text("dependencies: [app, native]\n")
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "CONDA_", "PIP_"))
        }
        self.variables = {
            **clean,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "METAFLOW_USER": home.name,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
            "ASYNCCACHE_CHANNELS": f'["{channel}"]',
        }

    def run(self, title: str, *, failing: str = "") -> dict[str, str]:
        """Run the commands of a section in one shell; return command -> what it printed, the failing one's too."""
        section = PAGE.partition(f"### {title}\n")[2].partition("\n##")[0]
        lines = re.findall(r"^\$ (.+)$", section, re.MULTILINE)
        assert lines
        script = ""
        for number, line in enumerate(lines):
            otherwise = "" if line == failing else "exit 99;"
            script += f"echo 'COMMAND {number}'\n{line} 2>&1 || {{ echo CODE $?; {otherwise} }}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(zip(lines, re.split(r"COMMAND \d+\n", done.stdout)[1:], strict=True))


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(write_tiny_channel(tmp_path_factory.mktemp("tiny") / "channel")) as url:
        yield url


def test_channels_of_a_condarc_are_asked_and_others_make_the_environment_out_of_a_root_on_s3(
    channel: str, tmp_path: Path, moto: ObjectServer
) -> None:
    ann, ben = Team(tmp_path / "ann", channel), Team(tmp_path / "ben", channel)
    moto.client().create_bucket(Bucket="team")
    for team in (ann, ben):
        team.variables |= {**moto.environment, "METAFLOW_S3_ENDPOINT_URL": moto.url}
    ann.variables |= {"METAFLOW_DEFAULT_DATASTORE": "s3", "METAFLOW_DATASTORE_SYSROOT_S3": "s3://team/"}
    del ann.variables["ASYNCCACHE_CHANNELS"]
    (ann.home / ".condarc").write_text(f"channels: ['{channel}']\n")

    tried, named = ann.run("A team with a `.condarc`").values()
    said = ben.run("A team with a root on S3")

    sources = f"User sources conda::{channel}/linux-64, conda::{channel}/noarch"
    assert sources in tried
    assert sources in named
    assert "team/env:v1" in said["asynccache env ls --remote"]
    assert re.search(r"^resolved +\S+ \S+ by ann$", said["asynccache env show team/env:v1"], re.MULTILINE)
    assert (ben.home / "env" / "conda-meta" / "history").exists()


def test_a_login_of_pips_configuration_is_used_and_written_nowhere(channel: str, tmp_path: Path) -> None:
    team = Team(tmp_path / "ann", channel)
    (team.home / "requirements.txt").write_text("frames\n")
    write_distribution(tmp_path / "wheels", "frames", "1.5.0")
    kept = team.home / "config" / "pip" / "pip.conf"
    kept.parent.mkdir(parents=True)
    with PyPIIndex(tmp_path / "wheels", login=("ann", SECRET)) as index:
        kept.write_text(f"[global]\nindex-url = {index.url.replace('://', f'://ann:{SECRET}@')}\n")
        (named,) = team.run("A team with a private index").values()

    assert "frames==1.5.0" in named
    assert SECRET not in named
    kept.unlink()
    assert not [path for path in team.home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_environments_of_a_root_on_azure_are_made_on_another_machine(
    channel: str, tmp_path: Path, azurite: AzureServer
) -> None:
    ann, ben = Team(tmp_path / "ann", channel), Team(tmp_path / "ben", channel)
    azurite.ask("PUT", "/container?restype=container")
    for team in (ann, ben):
        team.variables |= azurite.environment
        team.variables["METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT"] = azurite.url
    named = "asynccache resolve environment.yml --python '3.11.*' --alias team/env:v1 --store az://container/conda_env"
    done = subprocess.run(
        ["bash", "-c", named], cwd=ann.home, env=ann.variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr

    said = ben.run("A team with a root on Azure")

    assert "with an account key" in said["asynccache doctor"]
    assert "team/env:v1" in said["asynccache env ls --remote"]
    assert (ben.home / "env" / "conda-meta" / "history").exists()


def test_environments_of_a_root_on_google_cloud_are_made_on_another_machine(
    channel: str, tmp_path: Path, google: GoogleServer
) -> None:
    ann, ben = Team(tmp_path / "ann", channel), Team(tmp_path / "ben", channel)
    google.create_bucket("team")
    for team in (ann, ben):
        team.variables["STORAGE_EMULATOR_HOST"] = google.url
    named = "asynccache resolve environment.yml --python '3.11.*' --alias team/env:v1 --store gs://team/conda_env"
    done = subprocess.run(
        ["bash", "-c", named], cwd=ann.home, env=ann.variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr

    said = ben.run("A team with a root on Google Cloud")

    assert "team/env:v1" in said["asynccache env ls --remote"]
    assert (ben.home / "env" / "conda-meta" / "history").exists()
