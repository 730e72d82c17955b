"""The commands on environments that README and pages show run, in order, on real packages; so does README's Python."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.model.platform import current_architecture
from tests.cli.resolving import serve
from tests.docs.shells import Shell, real_shell
from tests.support.tiny_channel import write_tiny_channel

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"^\$ (asynccache (?:env|resolve|warm|create|run|pack|installer) .*?)(?:\s+#.*)?$", re.MULTILINE)


def commands(page: str) -> list[str]:
    return COMMAND.findall((REPOSITORY / page).read_text("utf-8"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with real_shell(tmp_path_factory.mktemp("real")) as run:
        yield run


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
    assert len(shown) == 13
    names = {"3.10": ("team/env:candidate", "team/serve"), "3.11": ("team/env:stable", "team/train")}
    ids = []
    for python, (moving, latest) in names.items():
        words = f"--python '{python}.*' --arch linux-64 --alias {moving} --alias {latest} --json"
        row = json.loads(tiny(f"asynccache resolve environment.yml {words}"))["environments"][0]
        ids.append(f"{row['req_id']}:{row['full_id']}")
        tiny(f"asynccache env alias {ids[-1]} team/env:latest")
    said = {}
    for line in shown:
        known = json.loads(tiny("asynccache env show team/env:v1 --json"))["digest"] if "DIGEST" in line else ""
        said[line] = tiny(line.replace("REQ:FULL", ids[0]).replace("DIGEST", known))
    assert "team/env:v1" in said["asynccache env ls 'team/*' --by ann"]
    assert "python" in said["asynccache env diff team/env:stable team/env:candidate"]
