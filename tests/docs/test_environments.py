"""The commands on environments that README and pages show run, in order, on real packages; so does README's Python."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.model.digest import digest_file
from asynccache.model.platform import current_architecture
from tests.cli.resolving import serve
from tests.support.channel import cached_channel
from tests.support.hydration import channel_paths
from tests.support.tiny_channel import write_tiny_channel

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"^\$ (asynccache (?:env|resolve|warm|create|run|pack|installer) .*?)(?:\s+#.*)?$", re.MULTILINE)
NAMES = ("python", "python_abi", "tzdata", "six", "certifi")


class Shell:
    """Runs command lines in one directory, as one user whose channel is on this machine."""

    def __init__(self, directory: Path, channel: str) -> None:
        self.directory = directory
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "CONDA_"))},
            "HOME": str(directory / "home"),
            "XDG_CACHE_HOME": str(directory / "home/cache"),
            "METAFLOW_USER": "ann",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ASYNCCACHE_STORE": str(directory / "store"),
            "ASYNCCACHE_CHANNELS": f'["{channel}"]',
            "ASYNCCACHE_CONDA_DEPENDENCY_RESOLVER": "rattler",
        }

    def __call__(self, line: str) -> str:
        done = subprocess.run(
            line, shell=True, cwd=self.directory, env=self._environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stderr}{done.stdout}"
        return done.stdout


def commands(page: str) -> list[str]:
    return COMMAND.findall((REPOSITORY / page).read_text("utf-8"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    directory = tmp_path_factory.mktemp("real")
    channel = cached_channel("small")
    with serve(channel.root) as url:
        lines = [f"{p.as_uri()}#{digest_file(str(p), 'md5').md5}" for p in channel_paths(channel, *NAMES)]
        (directory / "environment.txt").write_text("\n".join(["@EXPLICIT", *lines]))
        (directory / "environment.yml").write_text("dependencies: [python, six]\n")
        (directory / "script.py").write_text("import six\nprint(six.__name__)\n")
        yield Shell(directory, url)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Shell]:
    root = write_tiny_channel(tmp_path / "channel")
    with serve(root) as url:
        run = Shell(tmp_path, url)
        (tmp_path / "environment.yml").write_text("dependencies: [app, native]\n")
        yield run


def test_the_commands_of_the_readme_go_from_requirements_to_a_running_python(real: Shell) -> None:
    shown = commands("README.md")
    assert len(shown) == 6
    said = {line: real(line) for line in shown}
    assert said["asynccache run team/env:v1 -- python script.py"] == "six\n"


def test_the_commands_about_packs_run(real: Shell) -> None:
    shown = commands("docs/packed-environments.md")
    assert len(shown) == 3
    real("asynccache resolve environment.yml --alias team/env:v1")
    for line in shown:
        real(line)


def test_the_python_of_the_readme_runs(real: Shell) -> None:
    found = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    (real.directory / "example.py").write_text(f"import asyncio\n{found[1]}\nasyncio.run(main())\n")
    prefix, seconds = real("python example.py").split()
    assert Path(prefix, "bin/python").exists()
    assert float(seconds) > 0


@pytest.mark.skipif(current_architecture() != "linux-64", reason="the page shows linux-64")
def test_the_commands_of_the_page_about_environments_run(tiny: Shell) -> None:
    shown = commands("docs/environments.md")
    assert len(shown) == 11
    names = {"3.10": ("team/env:candidate", "team/serve"), "3.11": ("team/env:stable", "team/train")}
    ids = []
    for python, (moving, latest) in names.items():
        words = f"--python '{python}.*' --arch linux-64 --alias {moving} --alias {latest} --json"
        row = json.loads(tiny(f"asynccache resolve environment.yml {words}"))["environments"][0]
        ids.append(f"{row['req_id']}:{row['full_id']}")
        tiny(f"asynccache env alias {ids[-1]} team/env:latest")
    said = {line: tiny(line.replace("REQ:FULL", ids[0])) for line in shown}
    assert "team/env:v1" in said["asynccache env ls 'team/*' --by ann"]
    assert "python" in said["asynccache env diff team/env:stable team/env:candidate"]
