"""PyPI packages, alone and beside conda ones: extras, markers, architectures, locks, sources, and what is refused."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.resolving import Commands, serve
from tests.support.keyring import write_keyring
from tests.support.pypi_index import PyPIIndex, write_distribution, write_sdist
from tests.support.stores import archives_in, damaged_in
from tests.support.tiny_channel import write_tiny_channel

UV = str(Path(sys.executable).with_name("uv"))
LINUX = ("--python", "3.11.*", "--arch", "linux-64")
HELPERS = {"python", "pip", "wheel", "tomli", "setuptools", "uv"}


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(write_tiny_channel(tmp_path_factory.mktemp("tiny") / "channel")) as address:
        yield address


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PyPIIndex]:
    wheels = tmp_path_factory.mktemp("index")
    write_distribution(wheels, "app", "1.0", requires=["lib>=1"])
    write_distribution(wheels, "app", "2.0", requires=["lib>=2", "colour; sys_platform == 'win32'"])
    write_distribution(wheels, "lib", "1.5")
    write_distribution(wheels, "lib", "2.5", extras={"fast": ["speed"], "more": ["colour"]})
    write_distribution(wheels, "speed", "0.1", tag="cp311-cp311-manylinux_2_17_x86_64")
    write_distribution(wheels, "speed", "0.1", tag="cp311-cp311-macosx_11_0_arm64")
    write_distribution(wheels, "colour", "3.0")
    write_distribution(wheels, "reader", "1.0", requires=["tomli>=1"])
    write_distribution(wheels, "reader", "2.0", requires=["tomli>=3"])
    write_distribution(wheels, "tomli", "3.0")
    write_sdist(wheels, "source-only", "1.2", requires=["lib"])
    with PyPIIndex(wheels) as serving:
        yield serving


@pytest.fixture
def run(tmp_path: Path, channel: str, index: PyPIIndex) -> Commands:
    return Commands(tmp_path, channel, index.url)


def names(row: dict[str, object], kind: str) -> dict[str, str]:
    document = row["document"]
    assert isinstance(document, dict)
    found = [p["filename"].split("-")[:2] for p in document["packages"] if p["_type"] == kind]
    return {name.replace("_", "-"): version for name, version in found}


def test_pypi_packages_come_first_and_python_from_conda(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("App>=1  # ours\n")
    (row,) = run.resolve("requirements.txt", *LINUX, "--alias", "team/app:v1")
    assert row["document"]["env_type"] == "pypi-only"
    assert names(row, "pypi") == {"app": "2.0", "lib": "2.5"}
    assert names(row, "conda").keys() >= HELPERS
    assert names(row, "conda")["setuptools"] == "80.0"
    kinds = [p["_type"] for p in row["document"]["packages"]]
    assert kinds == sorted(kinds, reverse=True)
    wheel = row["document"]["packages"][0]
    assert wheel["url_format"] == ".whl"
    assert len(wheel["hashes"][".whl"]) == 64
    assert damaged_in(tmp_path / "st") == []
    assert len(archives_in(tmp_path / "st")) == len(row["document"]["packages"])
    # the same request in other words is known
    (tmp_path / "other.txt").write_text("# the same\nApp >= 1\n")
    assert run.resolve("-r", "other.txt", *LINUX)[0]["known"]


def test_extras_and_markers_are_those_of_the_architecture(run: Commands, tmp_path: Path) -> None:
    text = 'lib[more,fast]\ncolour; sys_platform == "win32"\napp==1.0; sys_platform == "darwin"\n'
    (tmp_path / "requirements.txt").write_text(text)
    mac, linux = run.resolve("requirements.txt", *LINUX, "--arch", "osx-arm64", "--dry-run")[::-1]
    assert (mac["req_id"], mac["full_id"]) == (linux["req_id"], linux["full_id"])
    assert names(linux, "pypi") == {"lib": "2.5", "speed": "0.1", "colour": "3.0"}
    assert names(mac, "pypi") == {"lib": "2.5", "speed": "0.1", "colour": "3.0", "app": "1.0"}
    assert any("macosx" in p["filename"] for p in mac["document"]["packages"])
    # the order of extras and lines is no part of the request
    (tmp_path / "requirements.txt").write_text("\n".join(reversed(text.replace("more,fast", "fast,more").splitlines())))
    assert run.resolve("requirements.txt", *LINUX, "--arch", "osx-arm64", "--dry-run")[0]["req_id"] == mac["req_id"]


def test_a_mixed_environment_has_conda_packages_first_and_pins_what_they_provide(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies:\n  - native\n  - tomli\n  - pip:\n    - reader==1.0\n")
    (row,) = run.resolve("environment.yml", *LINUX, "--resolver", "builtin")
    assert row["document"]["env_type"] == "mixed"
    assert names(row, "pypi") == {"reader": "1.0"}
    assert names(row, "conda").items() >= {"native": "1.1", "tomli": "2.0"}.items()
    assert [p["_type"] for p in row["document"]["packages"]][-1] == "pypi"
    (tmp_path / "environment.yml").write_text("dependencies:\n  - native\n  - tomli\n  - pip:\n    - reader==2.0\n")
    assert "tomli" in run("resolve", "environment.yml", *LINUX, "--resolver", "builtin", code=10).stderr


def test_what_is_added_to_a_base_keeps_every_package_of_it(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("app==1.0\n")
    (tmp_path / "more.txt").write_text("colour\n")
    (base,) = run.resolve("base.txt", *LINUX, "--alias", "team/base:v1")
    (more,) = run.resolve("-r", "more.txt", "--using", "team/base:v1", "--arch", "linux-64", "--alias", "team/more")
    kept = {p["filename"]: p for p in more["document"]["packages"]}
    assert all(kept[p["filename"]] == p for p in base["document"]["packages"])
    assert set(names(more, "pypi")) == {"app", "lib", "colour"}
    # what the base has already is not solved
    (tmp_path / "less.txt").write_text("lib>=1\n")
    (less,) = run.resolve("-r", "less.txt", "--using", "team/base:v1", "--arch", "linux-64")
    assert less["resolver"] == ""
    assert "(compatible with" in less["document"]["resolved_by"]


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("app==2.0\nlib<2\n", 10, "lib"),
        ("nobody-has-this\n", 11, "nobody-has-this"),
        ("-e .\n", 2, "requirements.txt"),
        ("-c limits.txt\n", 2, "requirements.txt"),
    ],
)
def test_failures_are_explained(run: Commands, tmp_path: Path, text: str, code: int, sentence: str) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    assert sentence in run("resolve", "requirements.txt", *LINUX, code=code).stderr


def test_an_index_that_says_md5_only_is_believed_that_far_and_the_rest_is_taken_from_the_file_and_said(
    run: Commands, tmp_path: Path, index: PyPIIndex
) -> None:
    (tmp_path / "requirements.txt").write_text("app\n")
    (said,) = run.resolve("requirements.txt", *LINUX, "--dry-run")
    with PyPIIndex(index.directory, json_api=False, algorithm="md5") as old:
        at = ("requirements.txt", *LINUX)
        (dry,) = run.resolve(*at, "--dry-run", ASYNCCACHE_DEFAULT_PYPI_SOURCE=old.url)
        (row,) = run.resolve(*at, ASYNCCACHE_DEFAULT_PYPI_SOURCE=old.url)
    assert (dry["full_id"], row["full_id"]) == ("_unresolved", said["full_id"])
    wheel = row["document"]["packages"][0]
    assert set(wheel["hashes"]) == {".whl", "md5"}
    (note,) = row["notes"]
    assert note.startswith("No index says the digest that counts of app-2.0-py3-none-any, lib-2.5-py3-none-any: it was")


def test_credentials_of_an_index_are_used_and_written_nowhere(run: Commands, tmp_path: Path, index: PyPIIndex) -> None:
    with PyPIIndex(index.directory, login=("ann", "s3cret-word")) as closed:
        address = closed.url.replace("://", "://ann:s3cret-word@")
        (tmp_path / "requirements.txt").write_text(f"--extra-index-url {address}\napp\n")
        result = run("resolve", "requirements.txt", *LINUX, ASYNCCACHE_DEFAULT_PYPI_SOURCE=closed.url)
        assert closed.requests
    assert "s3cret" not in result.stdout + result.stderr
    (tmp_path / "requirements.txt").unlink()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cret-word" not in path.read_bytes(), path


@pytest.mark.parametrize("where", ["netrc", "pip.conf", "auth of sources"])
def test_credentials_come_from_where_people_keep_them_and_go_nowhere(
    run: Commands, tmp_path: Path, index: PyPIIndex, where: str
) -> None:
    (tmp_path / "requirements.txt").write_text("app\n")
    kept = tmp_path / "kept"
    with PyPIIndex(index.directory, login=("ann", "s3cret-word")) as closed:
        more = {"ASYNCCACHE_DEFAULT_PYPI_SOURCE": closed.url}
        if where == "netrc":
            kept.write_text("machine 127.0.0.1 login ann password s3cret-word\n")
            kept.chmod(0o600)
            more["NETRC"] = str(kept)
        elif where == "pip.conf":
            kept.write_text(f"[global]\nindex-url = {closed.url.replace('://', '://ann:s3cret-word@')}\n")
            more = {"PIP_CONFIG_FILE": str(kept), "ASYNCCACHE_DEFAULT_PYPI_SOURCE": ""}
        else:
            more["METAFLOW_CONDA_SRCS_AUTH_INFO"] = json.dumps({closed.host: ["ann", "s3cret-word"]})
        run.more |= more
        result = run("resolve", "requirements.txt", *LINUX)
        assert closed.requests
    assert "app==2.0" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr
    kept.unlink(missing_ok=True)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cret-word" not in path.read_bytes(), path


@pytest.mark.parametrize("named", [True, False], ids=["user named", "nobody named"])
def test_the_keyring_is_asked_for_what_is_missing_and_its_password_is_written_nowhere(
    run: Commands, tmp_path: Path, index: PyPIIndex, named: bool
) -> None:
    write_distribution(tmp_path / "closed", "hidden", "4.0")
    with PyPIIndex(tmp_path / "closed", login=("ann", "s3cret-word")) as closed:
        programs = write_keyring(tmp_path / "programs", closed.host, "ann", "s3cret-word")
        address = closed.url.replace("://", "://ann@") if named else closed.url
        (tmp_path / "requirements.txt").write_text(f"--extra-index-url {address}\napp\nhidden\n")
        result = run("resolve", "requirements.txt", *LINUX, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert "hidden==4.0" in result.stdout
    assert any(path.name == "hidden-4.0-py3-none-any.whl" for path in archives_in(tmp_path / "st"))
    assert "s3cret" not in result.stdout + result.stderr
    (programs / "keyring").unlink()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cret-word" not in path.read_bytes(), path


def test_a_dry_run_says_what_would_be_built(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("source-only\n")
    (row,) = run.resolve("requirements.txt", *LINUX, "--dry-run")
    assert [b["name"] for b in row["builds"]] == ["source-only"]
    assert row["full_id"] is None
    assert run.written() == []
    shown = run("resolve", "requirements.txt", *LINUX, "--dry-run").stdout
    assert "To be built from source before it can be identified:\n  source-only==1.2 of http" in shown
    across = run("resolve", "requirements.txt", *LINUX, "--arch", "osx-arm64", code=None)
    assert "Cannot resolve environment across architectures" in across.stderr
    refused = run("resolve", "requirements.txt", *LINUX, "--no-cache", code=2)
    assert "needs wheels that are built from source" in refused.stderr


def test_a_conda_lock_is_taken_as_it_is(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [app, native]\n")
    (made,) = run.resolve("environment.yml", *LINUX, "--alias", "team/made:v1")
    for fmt, name in (("explicit", "env.txt"), ("conda-lock", "conda-lock.yml"), ("pixi-lock", "pixi.lock")):
        run("env", "export", "team/made:v1", "--arch", "linux-64", "--format", fmt, "-o", name)
        (row,) = run.resolve(name, "--arch", "linux-64")
        # the same packages have the same id under the request that the lock amounts to
        assert row["full_id"] == made["full_id"]
        assert row["document"]["deps"].count("conda::app==2.0") == 1
        # beside a file that says what is asked for, it is that request's
        (asked,) = run.resolve("-f", "environment.yml", name, *LINUX, "--force")
        assert (asked["req_id"], asked["full_id"]) == (made["req_id"], made["full_id"])
    assert "it was not locked for osx-arm64" in run("resolve", "conda-lock.yml", "--arch", "osx-arm64", code=2).stderr


def test_a_uv_lock_is_an_environment_of_its_own(run: Commands, tmp_path: Path, index: PyPIIndex) -> None:
    project = 'name = "ours"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["app", "lib[fast]"]\n'
    (tmp_path / "pyproject.toml").write_text(
        f"[project]\n{project}[[tool.uv.index]]\nurl = '{index.url}'\ndefault = true\n"
    )
    locked = subprocess.run(
        [UV, "lock"], cwd=tmp_path, env=run.environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert locked.returncode == 0, locked.stderr
    text = (tmp_path / "uv.lock").read_bytes()
    (row,) = run.resolve("-p", "pyproject.toml", "uv.lock", "--arch", "linux-64")
    assert row["document"]["full_id_unique_keys"] == {"uv_lock_content_hash": hashlib.sha256(text).hexdigest()}
    assert names(row, "pypi") == {"app": "2.0", "lib": "2.5", "speed": "0.1"}
    assert "python" in names(row, "conda")
    assert run.resolve("-p", "pyproject.toml", "uv.lock", "--arch", "linux-64")[0]["known"]
    # a changed lock is another environment of the same request
    (tmp_path / "uv.lock").write_bytes(text + b"# changed\n")
    (changed,) = run.resolve("-p", "pyproject.toml", "uv.lock", "--arch", "linux-64")
    assert changed["req_id"] == row["req_id"]
    assert changed["full_id"] != row["full_id"]


def test_a_pylock_is_read_for_its_python(run: Commands, tmp_path: Path, index: PyPIIndex) -> None:
    (tmp_path / "in.txt").write_text("app\nlib[fast]\n")
    command = [UV, "pip", "compile", "in.txt", "--format", "pylock.toml", "-o", "pylock.toml", "--universal"]
    made = subprocess.run(
        [*command, "--index-url", index.url], cwd=tmp_path, env=run.environment(), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (row,) = run.resolve("pylock.toml", *LINUX)
    assert names(row, "pypi") == {"app": "2.0", "lib": "2.5", "speed": "0.1"}
    hashes = [p["hashes"] for p in row["document"]["packages"] if p["_type"] == "pypi"]
    # stored as the cache's other users store them: a digest that does not count for the id, and the cached one
    assert all(h["sha256"] == h[".whl"] for h in hashes)
    assert json.loads(run("env", "show", f"{row['req_id']}:{row['full_id']}", "--arch", "linux-64", "--json").stdout)
