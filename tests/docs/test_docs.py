"""Every command shown in the documentation runs; the table of settings is that of the code."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.model.digest import digest_file
from asynccache.node.patience import OUTAGE_SECONDS
from asynccache.node.setting import Setting
from asynccache.node.settings_table import SETTINGS
from tests.support.command_line import run_command
from tests.support.fault_server import FaultServer
from tests.support.synthetic_packages import write_synthetic_channel

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
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


@pytest.mark.slow
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
            line = line.replace("s3://team-eu/conda_env", shlex.quote(f"{bucket}-eu"))
            # a twentieth of six packages is mostly none, which is refused
            line = line.replace("--sample 5%", "--sample 100%")
            if "conda-lock.yml" in line:
                line += " --arch linux-64"
            if re.search(r"[|<>$;&*?~]", line):
                process = await _run(line, work, environment)
            else:  # what needs no shell runs without the time in which libraries are imported
                words = shlex.split(line)[1:]
                process = await asyncio.to_thread(run_command, words, cwd=work, env=environment, timeout=60)
            assert process.returncode == 0, f"{command}: {process.stderr}{process.stdout}"


async def _run(line: str, work: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
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


BORNE = """## How long a failure is borne

The rule is one for the store and for the sources of packages (`asynccache/node/patience.py`). What may pass is
tried again, with pauses that double from 0.2 s to `retry_cap` and differ between processes:

| failure | borne |
| --- | --- |
| refused or broken connection, name that does not resolve, 500, 502, 503, 504, 408, 425 | `attempts`\
 tries, and `outage_timeout` ({outage_timeout:.0f} s) where the store or host has answered this process\
 before |
| no connection within `connect_timeout` ({connect_timeout:.0f} s), no byte within `read_timeout`\
 ({read_timeout:.0f} s) | the same; each try takes that long itself |
| 429, SlowDown, 503 with Retry-After, 503 to a HEAD of a store, 503 of Azure and Google | `throttle_timeout`\
 ({throttle_timeout:.0f} s), the waits that the server asks for included, else pauses\
 from 0.8 s; all requests to a store become slower, and no try is counted |
| a range that was not asked for, wrong bytes | `attempts` tries; wrong bytes twice |
| all else: 401, 403, 404, another certificate, a bucket that does not exist | not at all |

A store or host that has not answered yet may be a mistyped address: it has `attempts` tries, which take less than 4 s
when it refuses connections. One that was given up has as much, until it answers again: an outage that stays is
waited for once, not by every package. A source behind which another one is left (a mirror, the origin) has the
tries alone. A download that gets on by a MiB begins to count again. With `outage_timeout = 0` the tries decide.

A bare node bears an outage of its store for {node:.0f} s from the start, with pauses of at most 5 s: whoever submitted
the step has written there. `uv` and `pip`, which ask indexes, have `attempts` tries of their own.
"""


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
    borne = {row.name: row.default for row in SETTINGS if isinstance(row.default, float)}
    return "\n".join([*lines, "", BORNE.format(**borne, node=OUTAGE_SECONDS)])


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
