"""Every command shown in the documentation runs; the table of settings is that of the code."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.model.digest import digest_file
from asynccache.node.setting import Setting
from asynccache.node.settings_table import SETTINGS
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
            # a twentieth of six packages is mostly none, which is refused
            line = line.replace("--sample 5%", "--sample 100%")
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
    """Write the page of settings from the table."""
    lines = [
        "# Settings",
        "",
        "A setting is taken from the first of: a command line flag, `ASYNCCACHE_<NAME>`, the variables of Metaflow,",
        "the configuration file (`$ASYNCCACHE_CONFIG`, else `~/.config/asynccache/config.toml`, keys as below),",
        "Metaflow's configuration files, the default. The command line, `asynccache.api` and Metaflow's commands and",
        "flows read them with the same reader; `asynccache config` shows each value and where it came from. Maps are",
        "JSON in the environment and tables in the file.",
        "",
        "Metaflow's files are those that Metaflow reads: `config.json` in the `.metaflow` at or above the current",
        "directory, then the file of `METAFLOW_PROFILE`, or `config.json`, in `METAFLOW_HOME` (`~/.metaflowconfig`).",
        "Their keys are the `METAFLOW_` names. `CONDA_` keys without `METAFLOW_`, which Metaflow itself ignores, count",
        "after those with it, and `asynccache config` tells of them. `null` means unset; for the resolvers of PyPI and",
        "of mixed environments it means `none`. An empty variable of Metaflow's hides what its files say. A profile",
        "that does not exist is refused.",
        "",
        "| setting | environment | default | what it is |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{row.name}` | {_variables(row)} | {_default(row)} | {_about(row)} |" for row in SETTINGS if row.name]
    lines += [
        "",
        "What follows only Metaflow's commands and flows read, as `metaflow.metaflow_config` has it:",
        "",
        "| environment | default | what it is |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {_variables(row)} | {_default(row)} | {_about(row)} |" for row in SETTINGS if not row.name]
    return "\n".join(lines) + "\n"


def _variables(row: Setting) -> str:
    return ", ".join(f"`{name}`" for name in row.variables)


def _default(row: Setting) -> str:
    if row.default_text or callable(row.default) or row.default is None:
        return row.default_text
    return f"`{row.default}`"


def _about(row: Setting) -> str:
    if row.choices:
        return f"{row.text} One of {', '.join(f'`{c}`' for c in row.choices)}."
    limits = row.expected if row.minimum is not None else ""
    return f"{row.text} {limits[:1].upper()}{limits[1:]}." if limits else row.text


def test_the_table_of_settings_is_that_of_the_code() -> None:
    page = REPOSITORY / "docs" / "settings.md"
    if os.environ.get("ASYNCCACHE_UPDATE_DOCS"):
        page.write_text(settings_page(), "utf-8")
    assert page.read_text("utf-8") == settings_page(), "run the tests with ASYNCCACHE_UPDATE_DOCS=1"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
