"""Wheels are installed as the binary distribution format says, and every tool that asks is told the truth."""

import base64
import csv
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asynccache.engine.engine import Engine
from asynccache.errors import ArchiveError, HostileArchiveError, HydrationError, PartialFailureError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.scripts import EntryPoint, entry_points, interpreter_line, launcher, with_interpreter
from tests.support.channel import Channel
from tests.support.hydration import cached, channel_paths, packages_of
from tests.support.wheels import extract_wheel, write_wheel

SCRIPT = b"#!python -I\nimport sys; print(sys.flags.isolated, sys.prefix)\n"
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


class Maker:
    """Hydrates wheels beside Python and other packages of the channel."""

    def __init__(self, engine: Engine, channel: Channel, directory: Path) -> None:
        self._engine, self._channel, self._directory = engine, channel, directory
        self.notes: tuple[str, ...] = ()

    async def __call__(self, *paths: Path, conda: tuple[str, ...] = (), name: str = "env") -> Path:
        base = channel_paths(self._channel, "python", "python_abi", "tzdata", *conda)
        environment = await cached(self._engine, packages_of([*base, *paths]), note=name)
        done = await hydrate(self._engine.host, self._engine.sources, environment, self._directory / name)
        self.notes = done.notes
        return done.prefix


@pytest.fixture
def made(engine: Engine, real_channel: Channel, tmp_path: Path) -> Maker:
    return Maker(engine, real_channel, tmp_path)


def run(*command: str | Path) -> str:
    clean = {"PATH": os.defpath, "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _everything(wheels: Path) -> Path:
    return write_wheel(
        wheels,
        "Rich_Thing",
        "2.0",
        {
            "rich_thing/__init__.py": b"def main() -> int:\n    print('thing')\n    return 0\n",
            "rich_thing/na\u00efve.txt": b"x",
            "Rich_Thing-2.0.data/scripts/thing-script": SCRIPT,
            "Rich_Thing-2.0.data/scripts/thing.sh": b"#!/bin/sh\necho shell\n",
            "Rich_Thing-2.0.data/data/share/rich/data.txt": b"data",
            "Rich_Thing-2.0.data/headers/rich.h": b"#define RICH",
            "Rich_Thing-2.0.data/purelib/rich_pure.py": b"PURE = 1\n",
            "Rich_Thing-2.0.data/platlib/rich_plat.py": b"PLAT = 1\n",
            "rich_thing/tool": b"#!/bin/sh\necho tool\n",
        },
        entry_points="[console_scripts]\nThing = rich_thing:main\n[gui_scripts]\nthing-gui = rich_thing:main [extra]\n",
        executables=("rich_thing/tool",),
    )


async def test_every_kind_of_file_goes_where_it_belongs(made: Maker, wheels: Path) -> None:
    prefix = await made(_everything(wheels))
    assert run(prefix / "bin/Thing") == run(prefix / "bin/thing-gui") == "thing\n"
    assert run(prefix / "bin/thing-script").split() == ["1", str(prefix)]
    assert run(prefix / "bin/thing.sh") == "shell\n"
    assert (prefix / "share/rich/data.txt").read_text() == "data"
    assert (prefix / f"include/python{SITE[10:14]}/rich-thing/rich.h").exists()
    program = "import rich_thing, rich_pure, rich_plat; print(rich_pure.PURE + rich_plat.PLAT)"
    assert run(prefix / "bin/python", "-c", program) == "2\n"
    assert os.access(prefix / SITE / "rich_thing/tool", os.X_OK)


async def test_record_names_every_file_with_its_digest(made: Maker, wheels: Path) -> None:
    prefix = await made(_everything(wheels))
    information = prefix / SITE / "Rich_Thing-2.0.dist-info"
    rows = list(csv.reader((information / "RECORD").read_text("utf-8").splitlines()))
    assert rows[-1] == ["Rich_Thing-2.0.dist-info/RECORD", "", ""]
    recorded = set()
    for relative, digest, size in rows[:-1]:
        path = Path(os.path.normpath(prefix / SITE / relative))
        data = path.read_bytes()
        own = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={own}", str(len(data))), relative
        recorded.add(path)
    with zipfile.ZipFile(_everything(wheels)) as archive:
        assert len(recorded) == len(archive.namelist()) - 1 + 3  # without RECORD; with INSTALLER and two commands
    assert (information / "INSTALLER").read_text() == "asynccache\n"
    assert not (information / "direct_url.json").exists()


async def test_pip_and_uv_list_what_is_there(made: Maker, wheels: Path) -> None:
    prefix = await made(_everything(wheels), conda=("six",))
    python = prefix / "bin/python"
    uv = (Path(sys.executable).with_name("uv"), "--offline", "--no-config", "pip")
    listed = json.loads(run(*uv, "list", "--format", "json", "--python", python))
    found = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in listed}
    assert found["rich-thing"] == "2.0"
    assert "six" in found
    program = "import importlib.metadata as m; print(sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    assert "Rich_Thing==2.0" in run(python, "-I", "-c", program)
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    assert "Rich_Thing==2.0" in run(*pip, "list", "--format", "freeze")
    run(*uv, "check", "--python", python)
    run(*uv, "uninstall", "--python", python, "rich-thing")
    assert not list((prefix / SITE).glob("*ich*hing*"))
    assert not (prefix / "bin/Thing").exists()


async def test_a_tree_is_the_one_that_uv_installs(made: Maker, wheels: Path, tmp_path: Path) -> None:
    wheel = _everything(wheels)
    ours, theirs = await made(wheel), await made(name="theirs")
    uv = Path(sys.executable).with_name("uv")
    run(uv, "pip", "install", "--offline", "--no-config", "--no-index", "--no-deps", "--no-cache",
        "--link-mode", "copy", "--python", theirs / "bin/python", "--prefix", theirs, wheel)  # fmt: skip

    def tree(prefix: Path) -> dict[str, tuple[int, bytes]]:
        found = {}
        for path in prefix.rglob("*"):
            relative = str(path.relative_to(prefix))
            if (path.is_file() and "rich" in relative.lower()) or ("hing" in relative and path.is_file()):
                found[relative] = (path.stat().st_mode & 0o111, path.read_bytes().replace(os.fsencode(prefix), b"P"))
        return found

    mine, others = tree(ours), tree(theirs)
    differing = {name for name in mine.keys() | others.keys() if mine.get(name) != others.get(name)}
    information = f"{SITE}/Rich_Thing-2.0.dist-info"
    # other text of launchers, RECORD over them, and what only one of the two writes
    assert {n for n in differing if not n.startswith("include")} <= {
        "bin/Thing", "bin/thing-gui", "bin/thing-script", f"{information}/RECORD", f"{information}/INSTALLER",
        f"{information}/REQUESTED", f"{information}/direct_url.json", f"{information}/uv_cache.json",
    }  # fmt: skip


async def test_a_wheel_replaces_the_distribution_that_conda_brought(made: Maker, wheels: Path) -> None:
    six = write_wheel(wheels, "six", "99.0", {"six.py": b"__version__ = '99.0'\n"})
    prefix = await made(six, conda=("six",))
    assert run(prefix / "bin/python", "-c", "import six; print(six.__version__)") == "99.0\n"
    assert [p.name for p in (prefix / SITE).glob("six-*")] == ["six-99.0.dist-info"]
    assert any(n.startswith("six 1.") and "replaced by the wheel" in n for n in made.notes)


async def test_of_two_wheels_with_one_path_the_later_wins_and_it_is_said(
    engine: Engine, real_channel: Channel, wheels: Path, tmp_path: Path
) -> None:
    paths = [
        write_wheel(wheels, name, "1.0", {"shared.py": f"OWNER = {name!r}\n".encode()}) for name in ("first", "second")
    ]
    base = channel_paths(real_channel, "python", "python_abi", "tzdata")
    for order, winner in ((paths, "second"), (paths[::-1], "first")):
        environment = await cached(engine, packages_of([*base, *order]), note=winner)
        done = await hydrate(engine.host, engine.sources, environment, tmp_path / winner)
        assert run(done.prefix / "bin/python", "-c", "import shared; print(shared.OWNER)") == f"{winner}\n"
        assert done.notes == (f"{SITE}/shared.py is in several packages; that of {winner}-1.0-py3-none-any was taken",)


async def test_the_second_environment_shares_the_files_of_wheels(made: Maker, wheels: Path) -> None:
    wheel = _everything(wheels)
    one, two = await made(wheel), await made(wheel, name="two")
    files = [p / SITE / "rich_thing/__init__.py" for p in (one, two)]
    assert files[0].stat().st_ino == files[1].stat().st_ino or files[0].stat().st_nlink == 1
    assert (one / "bin/Thing").read_bytes() != (two / "bin/Thing").read_bytes()


async def test_wheels_without_a_python_are_refused(engine: Engine, wheels: Path, tmp_path: Path) -> None:
    environment = await cached(engine, packages_of([write_wheel(wheels, "alone")]))
    with pytest.raises(HydrationError, match="no conda package python"):
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"../../evil.py": b"x"}, "climbs"),
        ({"/etc/evil": b"x"}, "absolute"),
        ({"bad-1.0.data/elsewhere/x": b"x"}, "unknown kind"),
    ],
)
async def test_a_wheel_that_reaches_out_is_refused_and_leaves_nothing(
    made: Maker, wheels: Path, tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    wheel = write_wheel(wheels, "bad", "1.0", files)
    with pytest.raises((ArchiveError, PartialFailureError)) as caught:
        await made(wheel)  # refused when it is cached, or at the latest when it is installed
    causes = list(caught.value.errors.values()) if isinstance(caught.value, PartialFailureError) else [caught.value]
    assert all(isinstance(cause, ArchiveError) and reason in str(cause) for cause in causes)
    if reason != "unknown kind":  # which another writer may have put into the store
        with pytest.raises(HostileArchiveError, match=reason):
            extract_wheel(wheel, tmp_path / "extracted", lambda: False)
    assert not (tmp_path / "env").exists()
    assert not list((tmp_path).rglob("evil*"))


def test_interpreter_lines_work_for_every_length() -> None:
    assert interpreter_line("/env/bin/python") == b"#!/env/bin/python\n"
    long = "/" + "x" * 130 + "/bin/python"
    assert interpreter_line(long, "-I").startswith(b"#!/bin/sh\n'''exec' \"/xxx")
    assert interpreter_line("/with blank/python").startswith(b"#!/bin/sh\n")
    assert with_interpreter(b"#!pythonw\r\nx", "/p") == b"#!/p\nx"
    assert with_interpreter(b"#!/usr/bin/env python\nx", "/p") == b"#!/usr/bin/env python\nx"
    assert with_interpreter(b"\x7fELF", "/p") == b"\x7fELF"


def test_entry_points_are_read_as_they_are_written() -> None:
    text = "[console_scripts]\nA-b = m.n:f.g [x]\nbad = nothing\n../up = m:f\n[other]\nz = m:f\n"
    assert entry_points(text) == [EntryPoint("A-b", "m.n", "f.g")]
    assert entry_points("not = ini") == []
    assert b"from m.n import f\n" in launcher(EntryPoint("a", "m.n", "f.g"), "/p")
