"""`floor`, `doctor` and `warm` say who writes to a store and who may; commands that would write obey."""

import asyncio
import json
from pathlib import Path

import pytest

from asynccache import __version__
from tests.support.command_line import run_command
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel


def command(directory: Path, *words: str, code: int = 0) -> str:
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "METAFLOW_USER": "ann",
        "XDG_CACHE_HOME": str(directory / "c"),
    }
    said = run_command([*words, "--store", "st"], cwd=directory, env=variables)
    assert said.returncode == code, said.stderr + said.stdout
    return said.stdout + said.stderr


async def test_a_floor_is_set_by_a_command_and_obeyed(channel: SyntheticChannel, tmp_path: Path) -> None:

    async with FaultServer(channel.root) as server:

        async def run(*words: str, code: int = 0) -> str:
            return await asyncio.to_thread(command, tmp_path, *words, code=code)

        first, second = (f"{server.url}/linux-64/{path.name}" for path in channel.paths[:2])
        await run("cache", first)
        assert "may write from format 1 on, set by ann on" in await run("floor", "1")
        said = json.loads(await run("floor", "--json"))
        assert (said["floor"]["format"], [w["version"] for w in said["versions"]]) == (1, [__version__])
        assert "no such format" in await run("floor", "2", code=2)
        told = await run("doctor")
        assert f"store writers: in the last 30 days: {__version__} (last on" in told
        (tmp_path / "st/asynccache/format-floor").write_text('{"format": 2}')
        assert "update asynccache" in await run("cache", second, code=18)
        assert channel.paths[0].name in await run("ls")
        assert "FAIL  store format" in await run("doctor", code=6)


@pytest.mark.parametrize("words", [("floor",), ("floor", "--json")])
def test_a_store_without_a_floor_lets_everybody_write(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "st").mkdir()
    assert "format 0 on" in command(tmp_path, *words) or json.loads(command(tmp_path, *words))["versions"] == []
