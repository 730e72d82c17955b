"""Signatures and tokens in addresses: used for the requests of that run, and written and shown nowhere."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.resolving import Commands
from tests.support.pypi_index import write_distribution
from tests.support.static_files import serve_files
from tests.support.stores import archives_in
from tests.support.tiny_channel import write_tiny_channel

LINUX = ("--python", "3.11.*", "--arch", "linux-64")
SIGNATURE, TOKEN = "SECRETsig1", "tk-SECRETtoken1"
QUERY = f"sv=2024&sp=r&se=2030-01-01&sig={SIGNATURE}%2B"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yields the address of a wheel that is given for a signature only, and its sha256."""
    wheel = write_distribution(tmp_path_factory.mktemp("signed"), "demo")
    with serve_files(wheel.parent, query=QUERY) as host:
        yield f"http://{host}/{wheel.name}", hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the host of a channel that is given for a token only."""
    channel = write_tiny_channel(tmp_path_factory.mktemp("tiny") / "channel")
    with serve_files(channel.parent, token=TOKEN) as host:
        yield host


@pytest.fixture
def run(tmp_path: Path, private: str) -> Commands:
    return Commands(tmp_path, f"http://{private}/t/{TOKEN}/channel", "http://127.0.0.1:9/simple")


def assert_secret(run: Commands, *outputs: str) -> None:
    written = "\n".join(f"{path} {Path(path).read_bytes()!r}" for path in run.written())
    assert written
    for secret in (SIGNATURE, TOKEN, "sp=r"):
        assert secret not in written
        assert all(secret not in output for output in outputs)


def test_a_requirement_that_is_a_signed_address_is_had_with_its_signature_and_recorded_without(
    run: Commands, tmp_path: Path, signed: tuple[str, str]
) -> None:
    address, sha256 = signed
    (tmp_path / "requirements.txt").write_text(f"demo @ {address}?{QUERY}#sha256={sha256}\n")
    said = run("resolve", "-r", "requirements.txt", *LINUX, "--alias", "team/signed:v1", "--json")
    (row,) = json.loads(said.stdout)["environments"]
    assert f"pypi::demo@{address}#sha256={sha256}" in row["document"]["deps"]
    assert row["document"]["packages"][0]["url"] == address
    assert any("demo-1.0" in key for key in map(str, archives_in(tmp_path / "st")))
    shown = run("env", "show", "team/signed:v1", "--arch", "linux-64", "--json")
    assert_secret(run, said.stdout, said.stderr, shown.stdout)


def test_a_signed_address_that_is_refused_is_shown_without_its_signature(
    run: Commands, tmp_path: Path, signed: tuple[str, str]
) -> None:
    (tmp_path / "requirements.txt").write_text(f"demo @ {signed[0]}?{QUERY}x\n")
    said = run("resolve", "requirements.txt", *LINUX, code=None)
    assert said.returncode
    assert signed[0] in said.stderr
    assert SIGNATURE not in said.stdout + said.stderr


def test_the_addresses_of_a_lock_are_asked_for_with_their_signatures(
    run: Commands, tmp_path: Path, signed: tuple[str, str]
) -> None:
    address, sha256 = signed
    lines = ['lock-version = "1.0"', "[[packages]]", 'name = "demo"', 'version = "1.0"', "[[packages.wheels]]"]
    lines += [f'url = "{address}?{QUERY}"', f'hashes = {{ sha256 = "{sha256}" }}']
    (tmp_path / "pylock.toml").write_text("\n".join(lines) + "\n")
    said = run("resolve", "pylock.toml", *LINUX, "--json")
    (row,) = json.loads(said.stdout)["environments"]
    assert row["document"]["packages"][0]["url"] == address
    assert any("demo-1.0" in key for key in map(str, archives_in(tmp_path / "st")))
    assert_secret(run, said.stdout, said.stderr)


@pytest.mark.parametrize("in_file", [False, True], ids=["in the settings", "in the file"])
def test_a_channel_is_asked_with_its_token_and_recorded_without(
    run: Commands, tmp_path: Path, private: str, in_file: bool
) -> None:
    channels = f"channels: [{run.channel}]\n" if in_file else ""
    run.channel = f"http://{private}/channel" if in_file else run.channel
    (tmp_path / "environment.yml").write_text(f"{channels}dependencies: [tomli]\n")
    said = run("resolve", "environment.yml", *LINUX, "--json")
    (row,) = json.loads(said.stdout)["environments"]
    assert f"conda::http://{private}/channel" in row["document"]["sources"]
    assert {p["url"].rpartition("/")[0] for p in row["document"]["packages"]} <= {
        f"http://{private}/channel/{subdir}" for subdir in ("linux-64", "noarch")
    }
    assert archives_in(tmp_path / "st")
    assert_secret(run, said.stdout, said.stderr)


def test_a_list_of_packages_is_had_with_its_tokens(run: Commands, tmp_path: Path, private: str) -> None:
    channel = run.channel
    (tmp_path / "environment.yml").write_text("dependencies: [tomli]\n")
    (row,) = run.resolve("environment.yml", *LINUX, "--dry-run")
    urls = [p["url"].replace(f"http://{private}/channel", channel) for p in row["document"]["packages"]]
    hashes = [next(iter(p["hashes"].values())) for p in row["document"]["packages"]]
    lines = [f"{url}#{digest}" for url, digest in zip(urls, hashes, strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(["# platform: linux-64", "@EXPLICIT", *lines]) + "\n")
    run.channel = f"http://{private}/channel"
    said = run("resolve", "list.txt", "--arch", "linux-64", "--json")
    assert len(archives_in(tmp_path / "st")) == len(lines)
    assert_secret(run, said.stdout, said.stderr)
