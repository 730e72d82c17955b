"""A kernel is installed for the user, starts, and has the environment's packages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.engine.engine import Engine
from asynccache.errors import FetchError, HydrationError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.kernel import install_kernel, jupyter_data_directory
from asynccache.model.environment import ResolvedEnvironment
from tests.support.channel import Channel, download_wheels
from tests.support.hydration import cached, channel_paths, packages_of
from tests.support.python_package import describe_interpreter
from tests.support.shared import making
from tests.support.testdata import REPOSITORY


@pytest.fixture(scope="session")
def kernel_wheels() -> list[Path]:
    """ipykernel and what it needs, downloaded once."""
    interpreter = describe_interpreter(sys.executable)
    directory = REPOSITORY / ".cache" / f"wheels-ipykernel-{interpreter.tag}"
    with making(directory.parent / f"{directory.name}.lock"):
        directory.mkdir(exist_ok=True)
        if not list(directory.glob("ipykernel-*.whl")):
            try:
                download_wheels(("ipykernel",), directory, interpreter)
            except FetchError as exc:
                pytest.skip(str(exc))
    return sorted(directory.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.long
async def test_a_kernel_starts_and_imports_the_packages_of_its_environment(
    engine: Engine, real_channel: Channel, kernel_wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    base = channel_paths(real_channel, "python", "python_abi", "tzdata", "requests", "idna", "urllib3", "certifi")
    environment = await cached(engine, packages_of([*base, *kernel_wheels]))
    prefix = (await hydrate(engine.host, engine.sources, environment, tmp_path / "env")).prefix
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text("VALUE = 41\n")
    place = install_kernel(prefix, "team/env:v1", pythonpath=tmp_path / "code")
    assert place == tmp_path / "jupyter/kernels/mf_team_env_v1"
    spec = json.loads((place / "kernel.json").read_bytes())
    assert spec["argv"] == [f"{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert (spec["display_name"], spec["metadata"]) == ("Metaflow team/env:v1", {"debugger": True})
    assert (place / "logo-64x64.png").exists()
    program = (
        "from jupyter_client.manager import start_new_kernel\n"
        "manager, client = start_new_kernel(kernel_name='mf_team_env_v1', startup_timeout=90)\n"
        "said = []\n"
        "def hook(message):\n"
        "    said.append(message['content'].get('text', ''))\n"
        "    if message['msg_type'] == 'error': said.append(str(message['content']))\n"
        "try:\n"
        "    code = 'import idna, mine, sys; print(sys.prefix, mine.VALUE + 1)'\n"
        "    client.execute_interactive(code, timeout=60, output_hook=hook)\n"
        "finally:\n"
        "    client.stop_channels(); manager.shutdown_kernel(now=True)\n"
        "print(''.join(said).strip())\n"
    )
    done = _run(prefix / "bin/python", "-W", "ignore", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{prefix} 42"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    variables = {n: os.environ[n] for n in ("HOME", "JUPYTER_DATA_DIR") if n in os.environ}
    environ = {"PATH": os.defpath, "LANG": "C.UTF-8", **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=environ)


async def test_an_environment_without_ipykernel_gets_no_kernel(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    done = await hydrate(engine.host, engine.sources, tiny, tmp_path / "env")
    with pytest.raises(HydrationError, match="has no ipykernel"):
        install_kernel(done.prefix, "a/b:c", directory=tmp_path / "jupyter")
    assert not (tmp_path / "jupyter").exists()


def test_kernels_go_where_jupyter_looks() -> None:
    assert jupyter_data_directory({"JUPYTER_DATA_DIR": "/data"}) == Path("/data")
    if sys.platform != "darwin":
        assert jupyter_data_directory({"XDG_DATA_HOME": "/xdg"}) == Path("/xdg/jupyter")
