"""`metaflow environment` on the datastores of Azure and Google Cloud, with Metaflow's own settings alone."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.model.platform import current_architecture
from tests.support.azurite import AzureServer
from tests.support.google_storage import GoogleServer
from tests.support.metaflow_venv import NODE, CannotInstallError, launch_venv
from tests.support.tiny_channel import write_tiny_channel

pytestmark = [
    pytest.mark.xdist_group("object-servers"),
    pytest.mark.skipif(current_architecture() != "linux-64", reason="the channel of these tests is linux-64"),
]
# one process runs all commands: Metaflow alone takes a second to begin
COMMANDS = """
import json, sys
from metaflow.cmd.main_cli import start
for words in json.loads(sys.argv[1]):
    sys.argv = ["metaflow", "environment", *words]
    try:
        start(prog_name="metaflow")
    except SystemExit as ended:
        print("ENDED", ended.code or 0, file=sys.stderr, flush=True)
"""


@dataclass
class Bed:
    """A datastore, with a root of its own.

    Attributes:
        kind: Its type.
        sysroot: Where Metaflow keeps flows, as Metaflow writes it.
        listing: Returns the service's answer to what lies below a prefix.
        variables: Metaflow's settings, and who asks.
        directory: Machines have their homes here.
        python: Of a venv with Metaflow and asynccache.
        channel: Address of the only channel.
    """

    kind: str
    sysroot: str
    listing: Callable[[str], str]
    variables: Mapping[str, str] = field(repr=False)
    directory: Path
    python: Path
    channel: str

    def metaflow(self, machine: str, *commands: tuple[str, ...], channels: bool = False) -> list[str]:
        """Run `metaflow environment` with words each on a machine; return what each has printed for programs."""
        home = self.directory / machine
        (home / ".metaflow").mkdir(parents=True)
        (home / "one.yml").write_text("dependencies: [native]\n")
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "METAFLOW_USER": "tester",
            f"METAFLOW_DATASTORE_SYSROOT_{self.kind.upper()}": self.sysroot,
            "ASYNCCACHE_CHANNELS": json.dumps([self.channel] if channels else []),
            **self.variables,
        }
        words = json.dumps([("--quiet", "--datastore", self.kind, *each) for each in commands])
        done = subprocess.run(
            [str(self.python), "-c", COMMANDS, words], cwd=home, env=variables, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        said = done.stderr.split("ENDED 0\n")
        assert len(said) == len(commands) + 1, done.stderr
        return said[:-1]


@pytest.fixture(params=["azure", "gs"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Bed:
    kind, prefix = str(request.param), uuid4().hex
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    channel = write_tiny_channel(tmp_path / "channel", more=NODE[kind])
    if kind == "azure":
        azure: AzureServer = request.getfixturevalue("azurite")
        listing = f"/{azure.container}?restype=container&comp=list&prefix="
        said = {"METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": azure.url, **azure.environment}
        return Bed(
            kind, f"{azure.container}/{prefix}", lambda below: azure.ask("GET", listing + below).decode(), said,
            tmp_path, python, channel.as_uri(),
        )  # fmt: skip
    google: GoogleServer = request.getfixturevalue("google")

    def listed(below: str) -> str:
        address = f"{google.url}/storage/v1/b/{google.bucket}/o?prefix={below}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return str(answer.read().decode())

    said = {"STORAGE_EMULATOR_HOST": google.url}
    return Bed(kind, f"gs://{google.bucket}/{prefix}", listed, said, tmp_path, python, channel.as_uri())


def test_what_is_resolved_and_named_on_one_machine_is_found_and_made_on_another(bed: Bed) -> None:
    (resolved,) = bed.metaflow(
        "one", ("resolve", "-f", "one.yml", "--python", "3.11.*", "--alias", "team/one:v1"), channels=True
    )
    shown, got, _, again, made = bed.metaflow(
        "two",
        ("show", "team/one:v1"),
        ("get", "team/one:v1"),
        ("alias", "team/one:v1", "team/two:v1"),
        ("show", "team/two:v1"),
        ("create", "--name", "one", "team/one:v1"),
    )

    prefix = bed.sysroot.rpartition("/")[2]
    ids = resolved.splitlines()[1].split(" ")[:2]
    assert all(f"{ids[0]} {ids[1]} " in said for said in (shown, got, again))
    assert "team/two:v1" in again
    # what Metaflow itself needs with this datastore, and with no other
    names = {each.partition("==")[0] for each in shown.split(" ")[-3].removeprefix("conda:").split(",")}
    assert names == {*NODE[bed.kind], "native", "python"}
    assert f"/conda_env/envs/linux-64/{ids[0]}/{ids[1]}/env" in bed.listing(prefix)
    assert (Path(made.strip()).parents[1] / "share/native-1.1-h2_0").exists()
    assert made.startswith(str(bed.directory / "two"))
