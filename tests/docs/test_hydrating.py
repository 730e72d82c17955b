"""Every command that docs/hydrating.md shows runs, in order, on a real environment and a past step."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from asynccache.model.digest import digest_file
from tests.support.channel import cached_channel
from tests.support.hydration import channel_paths

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hydrating.md"
COMMAND = re.compile(r"^\$ (asynccache .*?)$", re.MULTILINE)
ALIASES = ("team/env:v1", "team/train:v1", "team/serve:v2")
NAMES = ("python", "python_abi", "tzdata", "six", "feature-activate")


class Shell:
    """Runs command lines in one directory, as one user."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))},
            "HOME": str(directory / "home"),
            "XDG_CACHE_HOME": str(directory / "home/cache"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SHELL": "/bin/sh",
        }

    def __call__(self, line: str, code: int = 0) -> str:
        done = subprocess.run(
            line, shell=True, cwd=self._directory, env=self._environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{line}: {done.stderr}{done.stdout}"
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    run = Shell(tmp_path)
    paths = channel_paths(cached_channel("small"), *NAMES)
    lines = [f"{path.as_uri()}#{digest_file(str(path), 'md5').md5}" for path in paths]
    (tmp_path / "list.txt").write_text("\n".join(["@EXPLICIT", *lines]))
    made = json.loads(run(f"asynccache env import list.txt {' '.join(f'--alias {name}' for name in ALIASES)} --json"))
    row = made["environments"][0]
    ids = [row["req_id"], row["full_id"]]
    _write_step(tmp_path, ids)
    (tmp_path / "environments.txt").write_text("team/train:v1\nteam/serve:v2 serving\n")
    (tmp_path / "script.py").write_text("import six\nprint(six.__name__)\n")
    return run


def _write_step(directory: Path, ids: list[str]) -> None:
    """Write what Metaflow's local datastore keeps of a step that ran elsewhere."""
    from asynccache.model.platform import current_architecture

    (directory / "flow.py").write_text("VALUE = 42\n")
    package = directory / "package.tgz"
    with tarfile.open(package, "w:gz") as archive:
        archive.add(directory / "flow.py", "flow.py")
        archive.add(directory / "flow.py", ".mf_code/metaflow_stub.py")
    meta = directory / ".metaflow/Flow/123/train/1/_meta"
    meta.mkdir(parents=True)
    code = json.dumps({"ds_type": "local", "sha": "0", "location": str(package)})
    env_id = json.dumps([*ids, current_architecture()])
    for field, value in (("conda_env_id", env_id), ("code-package", code)):
        (meta / f"sysmeta_{field}_1.json").write_text(json.dumps({"value": value, "ts_epoch": 1}))


def test_every_command_shown_runs(shell: Shell, tmp_path: Path) -> None:
    commands = COMMAND.findall(PAGE.read_text("utf-8"))
    assert len(commands) == 10
    said = {command: shell(command) for command in commands}
    assert said["asynccache run train -- python script.py"] == "six\n"
    assert (tmp_path / "work/__conda_python").is_symlink()
    program = "import flow, metaflow_stub; print(flow.VALUE, metaflow_stub.VALUE)"
    assert shell(f"cd work && . ./metaflow_setup.sh && ./__conda_python -c '{program}'") == "42 42\n"


def test_the_latest_run_gives_its_code_too(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / ".metaflow/Flow/latest_run").write_text("123")
    shell("asynccache create --pathspec Flow/latest/train --into-dir latest")
    assert (tmp_path / "latest/flow.py").read_text() == "VALUE = 42\n"


def test_a_step_without_code_package_is_refused_unless_told_otherwise(shell: Shell, tmp_path: Path) -> None:
    next((tmp_path / ".metaflow").rglob("sysmeta_code-package_1.json")).unlink()
    command = "asynccache create --pathspec Flow/123/train --name strict --into-dir strict"
    shell(command, code=17)
    assert not list(tmp_path.rglob("envs/strict"))
    shell(f"{command} --no-strict")
    assert (tmp_path / "strict/__conda_python").exists()
