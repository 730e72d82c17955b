"""What a person does with environments on this machine, what it prints, and how it ends."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.hydrate.kernel import kernel_name
from asynccache.model.digest import digest_file
from asynccache.model.package import Format
from asynccache.model.platform import current_architecture
from tests.support.channel import cached_channel
from tests.support.channel_index import write_index
from tests.support.command_line import ASYNCCACHE, items_of, run_command
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import channel_paths

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str | Path, code: int | None = 0, **variables: str) -> Result:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "CONDA_"))}
        environment = {
            **clean,
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path / "xdg"),
            "METAFLOW_USER": "ann",
            "ASYNCCACHE_STORE": str(tmp_path / "store"),
            **variables,
        }
        result = run_command(arguments, cwd=tmp_path, env=environment)
        assert code is None or result.returncode == code, result.stderr + result.stdout
        assert "Traceback" not in result.stderr
        return result

    return call


def _write_list(path: Path, *names: str) -> None:
    lines = [f"{p.as_uri()}#{digest_file(str(p), 'md5').md5}" for p in channel_paths(cached_channel("small"), *names)]
    path.write_text("@EXPLICIT\n" + "\n".join(lines))


@pytest.fixture
def named(run: Run, tmp_path: Path) -> str:
    _write_list(tmp_path / "list.txt")
    run("env", "import", "list.txt", "--alias", "team/env:v1")
    return "team/env:v1"


@pytest.fixture
def light(run: Run, tmp_path: Path) -> str:
    """An environment without Python."""
    _write_list(tmp_path / "light.txt", "feature-symlinks", "feature-activate", "feature-prefix-text")
    run("env", "import", "light.txt", "--alias", "team/light:v1")
    return "team/light:v1"


def test_an_environment_is_created_run_listed_and_removed(run: Run, named: str, tmp_path: Path) -> None:
    created = run("create", named, "--name", "train")
    prefix = tmp_path / "xdg/asynccache/envs/train"
    assert f"Environment created at '{prefix}'" in created.stdout
    again = run("create", named, "--name", "train")
    assert again.stdout.startswith(f"Environment at '{prefix}' already created and valid")
    out = run("run", "train", "--", "python", "-c", "import sys, requests; print(sys.prefix, sys.argv)", "-x", "--json")
    assert out.stdout == f"{prefix} ['-c', '-x', '--json']\n"
    listed = items_of(run("envs", "--json").stdout)
    assert [(e["name"], e["prefix"], e["arch"][:5]) for e in listed] == [("train", str(prefix), "linux")]
    assert listed[0]["bytes"] > listed[0]["own_bytes"] > 0
    assert "train" in run("envs").stdout
    assert run("rm", "train").stdout == f"removed {prefix}\n"
    assert not prefix.exists()
    assert run("envs").stdout == "no environments on this machine\n"
    assert "is on this machine" in run("rm", "train", code=9).stderr


def test_run_makes_an_environment_once_and_gives_the_exit_code_of_the_command(run: Run, light: str) -> None:
    program = 'echo "$FEATURE_ACTIVE $FEATURE_VARIABLE $CONDA_PREFIX"; exit 7'
    first = run("run", light, "--", "sh", "-c", program, code=7)
    active, variable, prefix = first.stdout.split()
    assert (active, variable) == ("1", "42")
    assert Path(prefix).name.startswith("metaflow_")
    assert run("run", light, "sh", "-c", program, code=7).stdout == first.stdout
    assert run("run", prefix, "--", "sh", "-c", "echo $PATH").stdout.startswith(f"{prefix}/bin:")
    assert "no-such-program" in run("run", prefix, "--", "no-such-program", code=127).stderr
    assert "nothing to run" in run("run", light, code=2).stderr


def test_a_shell_is_activated(run: Run, light: str, tmp_path: Path) -> None:
    run("create", light, "--prefix", "env")
    (tmp_path / "mine.sh").write_text("#!/bin/sh\necho $FEATURE_ACTIVE $CONDA_DEFAULT_ENV\n")
    (tmp_path / "mine.sh").chmod(0o755)
    out = run("shell", "./env", SHELL=str(tmp_path / "mine.sh"))
    assert out.stdout == f"1 {tmp_path}/env\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_bash_reads_the_users_file_and_then_the_environment(run: Run, light: str, tmp_path: Path) -> None:
    run("create", light, "--prefix", "env")
    (tmp_path / ".bashrc").write_text("PATH=/mine:$PATH\nPS1='$ '\n")
    program = (
        "import os, pty, sys\n"
        "pid, fd = pty.fork()\n"
        "if not pid: os.execvp(sys.argv[1], sys.argv[1:])\n"
        "os.write(fd, b'echo =$FEATURE_ACTIVE=$PATH= +$PS1; exit 3\\n')\n"
        "out = b''\n"
        "try:\n"
        "    while block := os.read(fd, 4096): out += block\n"
        "except OSError: pass\n"
        "print(out.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    clean = {"PATH": os.defpath, "HOME": str(tmp_path), "SHELL": shutil.which("bash") or "", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", program, ASYNCCACHE, "shell", "./env"],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path, env=clean,
    )  # fmt: skip
    assert f"=1={tmp_path}/env/bin:" in done.stdout
    assert f"+({tmp_path}/env) $" in done.stdout  # the prompt itself is cut to the terminal's width
    assert done.stdout.strip().endswith("3")


def test_the_quiet_and_the_json_form(run: Run, named: str, tmp_path: Path) -> None:
    assert run("create", named, "--prefix", "env", "--quiet").stdout == f"{tmp_path}/env/bin/python\n"
    document = json.loads(run("create", named, "--prefix", "env", "--json").stdout)
    assert (document["prefix"], document["created"], document["notes"]) == (str(tmp_path / "env"), False, [])
    assert [e["prefix"] for e in items_of(run("envs", "--json").stdout)] == [str(tmp_path / "env")]


def test_what_is_not_ours_is_refused_in_one_sentence(run: Run, light: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis").touch()
    refused = run("create", light, "--prefix", "home", "--force", code=16)
    assert refused.stderr == f"error: {tmp_path}/home exists and is no environment; choose another place\n"
    run("create", light, "--name", "one")
    assert "`--force` makes it again" in run("create", named, "--name", "one", code=16).stderr
    assert "Environment created" in run("create", named, "--name", "one", "--force").stdout
    assert "exclude each other" in run("create", light, "--name", "a", "--prefix", "b", code=2).stderr
    assert "a name it cannot have" in run("create", light, "--name", "../x", code=2).stderr
    assert "no environment" in run("create", "team/unknown:v1", code=9).stderr
    assert "needs --name or --prefix" in run("create", light, "--install-notebook", code=2).stderr


def test_a_directory_to_work_in_has_python_and_variables(run: Run, named: str, tmp_path: Path) -> None:
    run("create", named, "--into-dir", "work")
    out = subprocess.run(
        ["sh", "-c", ". ./metaflow_setup.sh; ./__conda_python -c 'import six, os; print(os.environ[\"PYTHONPATH\"])'"],
        capture_output=True, text=True, cwd=tmp_path / "work", check=True, timeout=60,
    )  # fmt: skip
    assert out.stdout == f"{tmp_path}/work\n"
    refused = run("create", named, "--into-dir", "work", code=2)
    assert "is not empty" in refused.stderr
    run("create", named, "--into-dir", "work", "--force")


def test_clean_removes_by_last_use_and_keeps_what_is_shared_or_running(
    run: Run, light: str, named: str, tmp_path: Path
) -> None:
    envs = tmp_path / "xdg/asynccache/envs"
    pkgs = tmp_path / "xdg/asynccache/pkgs"
    for name, environment in (("old", light), ("new", light), ("busy", named)):
        run("create", environment, "--name", name)
    run("create", light, "--prefix", "elsewhere")
    long_ago = time.time() - 40 * 86400
    for path in (envs / "old", envs / "busy", tmp_path / "elsewhere"):
        os.utime(path / ".metaflowenv", (long_ago, long_ago))
    for record in pkgs.glob("*/info/asynccache.json"):
        os.utime(record, (long_ago, long_ago))
    with subprocess.Popen([envs / "busy/bin/python", "-c", "input()"], stdin=subprocess.PIPE) as process:
        planned = json.loads(run("clean", "--dry-run", "--json").stdout)
        assert [(r["kind"], Path(r["path"]).name) for r in planned["removed"] if r["kind"] == "environment"] == [
            ("environment", "old")
        ]
        assert (envs / "old").exists()
        refused = run("rm", "busy", code=16)
        assert f"is in use by process {process.pid}" in refused.stderr
        run("clean")
        process.kill()
    assert sorted(p.name for p in envs.iterdir() if not p.name.startswith(".")) == ["busy", "new"]
    assert (tmp_path / "elsewhere/lib/libfeature.so").exists()
    assert (pkgs / "feature-symlinks-1.0-h0_0").exists()  # `new` shares it
    run("rm", "new", "busy", tmp_path / "elsewhere")
    assert "freed" in run("clean", "--older-than", "1d").stdout
    assert list(pkgs.glob("*/info")) == []
    run("create", light, "--name", "again")
    cleaned = json.loads(run("clean", "--keep-bytes", "0", "--json").stdout)
    assert cleaned["kept_bytes"] == 0
    assert list(pkgs.glob("*/info")) == []
    assert "no length of time" in run("clean", "--older-than", "soon", code=2).stderr


def test_kernels_have_the_names_that_the_contract_says() -> None:
    assert kernel_name("team/my-env:v1.2") == "mf_team_my_env_v1_2"


def test_a_kernel_brings_what_it_needs_on_top_and_the_locked_packages_stay(run: Run, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    for name in (current_architecture(), "noarch"):
        (channel / name).mkdir(parents=True)
    for path in channel_paths(cached_channel("small"), "python", "python_abi", "tzdata", "six"):
        shutil.copy(path, channel / path.parent.name)
    kernel = Metadata(name="ipykernel", version="7.0", build="py_0", noarch="python", depends=("python",))
    write_package(
        channel / "noarch", kernel, [Member("site-packages/ipykernel_launcher.py", b"LAUNCHED = 1\n")], (Format.CONDA,)
    )
    write_index(channel)
    text = f"channels:\n  - {channel.as_uri()}\ndependencies:\n  - python=3.*\n  - six\n"
    (tmp_path / "environment.yml").write_text(text)
    alone = {"ASYNCCACHE_CHANNELS": "[]", "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler"}
    run("resolve", "-f", "environment.yml", "--alias", "team/env:v1", **alone)
    words = ("create", "team/env:v1", "--name", "k", "--install-notebook")
    out = run(*words, JUPYTER_DATA_DIR=str(tmp_path / "j"), **alone)
    assert f"Jupyter kernel 'mf_team_env_v1' installed at {tmp_path}/j/kernels/mf_team_env_v1" in out.stdout
    spec = json.loads((tmp_path / "j/kernels/mf_team_env_v1/kernel.json").read_bytes())
    program = "import ipykernel_launcher, six; print(ipykernel_launcher.LAUNCHED)"
    assert subprocess.run([spec["argv"][0], "-c", program], capture_output=True, check=True).stdout == b"1\n"
    without = json.loads(run("create", "team/env:v1", "--prefix", "plain", "--json", **alone).stdout)
    assert without["full_id"] != items_of(run("envs", "--json").stdout)[1]["full_id"]


async def test_a_program_and_the_command_make_the_same_prefix(run: Run, light: str, tmp_path: Path) -> None:
    made = json.loads(run("create", light, "--json").stdout)
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "xdg/asynccache")

    async with Session(settings) as session:
        again = await session.create(light)

    assert (str(again.prefix), again.created) == (made["prefix"], False)
    assert again.prefix.name.startswith("metaflowtmp_")


def test_the_hint_names_the_environment_as_short_as_it_can_be_with_the_flags_that_were_given(
    run: Run, light: str, tmp_path: Path
) -> None:
    assert run("create", light).stdout.endswith(
        "Run in it with `asynccache run team/light:v1 -- COMMAND`, or `asynccache shell team/light:v1`\n"
    )
    out = run("create", light, "--cache-dir", "my cache", ASYNCCACHE_STORE=str(tmp_path / "store")).stdout
    words = shlex.split(out.partition("Run in it with `asynccache ")[2].partition(" -- COMMAND`")[0])
    assert words == ["run", "team/light:v1", "--cache-dir", "my cache"]
    assert "my cache" in run(*words, "--", "sh", "-c", "echo $CONDA_PREFIX").stdout
    listed = run("envs").stdout.splitlines()
    assert listed[1].startswith("team/light:v1  ")
