"""Every command shown in the documentation runs; the table of settings is that of the code."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.model.digest import digest_file
from tests.support.fault_server import FaultServer
from tests.support.synthetic_packages import write_synthetic_channel

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
COMMAND = re.compile(r"^\$ (asynccache .*?)(?:\s+#.*)?$", re.MULTILINE)
# these need more than a channel and a store; they are shown running in tests of their own
HYDRATING = ("asynccache create", "asynccache run", "asynccache shell", "asynccache rm")
ENVIRONMENTS = ("asynccache env", "asynccache resolve", "asynccache warm", "asynccache pack", "asynccache installer")
ELSEWHERE = ("asynccache bench", *HYDRATING, *ENVIRONMENTS)
CONDA_LOCK = """\
version: 1
metadata:
  content_hash: {}
  channels: []
  platforms: [linux-64]
  sources: []
package:
"""
ENTRY = """\
- name: {name}
  version: "{version}"
  manager: conda
  platform: linux-64
  dependencies: {{}}
  url: {url}
  hash: {{md5: {md5}}}
  category: main
  optional: false
"""


def _commands() -> list[str]:
    found = [c for page in PAGES for c in COMMAND.findall(page.read_text("utf-8"))]
    return [c for c in dict.fromkeys(found) if not c.startswith(ELSEWHERE)]


async def test_every_command_shown_runs(tmp_path: Path) -> None:
    paths = write_synthetic_channel(tmp_path / "channel", [9000] * 6)
    bucket = str(tmp_path / "bucket")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))},
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home/cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    work = tmp_path / "work"
    work.mkdir()
    async with FaultServer(tmp_path / "channel") as server:
        lines, lock = ["@EXPLICIT"], CONDA_LOCK
        for path in paths:
            url, md5 = f"{server.url}/linux-64/{path.name}", digest_file(str(path), "md5").md5
            lines.append(f"{url}#{md5}")
            name, version, _ = path.name.rsplit("-", 2)
            lock += ENTRY.format(name=name, version=version, url=url, md5=md5)
            if path.name.endswith(".tar.bz2"):
                (work / path.name).write_bytes(path.read_bytes())
        (work / "environment.txt").write_text("\n".join(lines))
        (work / "conda-lock.yml").write_text(lock)
        commands = _commands()
        assert len(commands) >= 8
        for command in commands:
            line = command.replace("s3://team/conda_env", shlex.quote(bucket))
            if "conda-lock.yml" in line:
                line += " --arch linux-64"
            process = await _run(line, work, environment)
            assert process.returncode == 0, f"{command}: {process.stderr}{process.stdout}"


async def _run(line: str, work: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    import asyncio

    return await asyncio.to_thread(
        subprocess.run,
        line,
        shell=True,
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings_page() -> str:
    """Write the table of settings from the code."""
    lines = [
        "# Settings",
        "",
        "A setting is taken from the first of: a command line flag, the environment, the configuration file",
        "(`$ASYNCCACHE_CONFIG`, else `~/.config/asynccache/config.toml`, keys as below), Metaflow's configuration file",
        "(`~/.metaflowconfig/config.json`; only the `METAFLOW_` names), the default. `asynccache config` shows each",
        "value and where it came from. Maps are JSON in the environment and tables in the file.",
        "",
        "| setting | environment | default | what it is |",
        "| --- | --- | --- | --- |",
    ]
    for item in dataclasses.fields(Settings):
        names = ", ".join(f"`{n}`" for n in (f"ASYNCCACHE_{item.name.upper()}", *item.metadata["also"]))
        default = "" if item.default is dataclasses.MISSING or item.default is None else f"`{item.default}`"
        default = {
            "cache_dir": "`~/.cache/asynccache`; `~/Library/Caches/asynccache` on macOS",
            "cpu_slots": "all cores this process may use",
            "username": "`METAFLOW_USER`, `SUDO_USER`, `USERNAME` or `USER`",
        }.get(item.name, default)
        choices = item.metadata["choices"]
        text = item.metadata["help"] + (f" One of {', '.join(f'`{c}`' for c in choices)}." if choices else "")
        lines.append(f"| `{item.name}` | {names} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    page = REPOSITORY / "docs" / "settings.md"
    if os.environ.get("ASYNCCACHE_UPDATE_DOCS"):
        page.write_text(settings_page(), "utf-8")
    assert page.read_text("utf-8") == settings_page(), "run the tests with ASYNCCACHE_UPDATE_DOCS=1"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
