"""What real conda programs printed when a solve failed becomes an error that explains."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import pytest

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, PackageUnknownError, UnsatisfiableError
from asynccache.model.identity import Request
from asynccache.resolve.conda.executable import CondaExecutableResolver
from asynccache.resolve.resolver import Problem
from tests.support.conda_table import write_table_channels

RECORDED: Final = Path(__file__).parent / "conda_programs"
INFO: Final = {
    "micromamba": {"micromamba version": "2.8.1", "base environment": "/opt/mamba", "channels": []},
    "conda": {"conda_version": "26.7.1", "root_prefix": "/opt/conda", "channels": []},
}
SCRIPT: Final = """#!{python}
import os, pathlib, sys
recorded = {recorded!r}
if "info" in sys.argv:
    print({info!r})
    sys.exit()
in_json = "--json" in sys.argv or os.environ.get("MAMBA_JSON")
sys.stdout.write(pathlib.Path(recorded + (".json" if in_json else ".txt")).read_text("utf-8"))
sys.stdout.flush()
if recorded.endswith("rattler-unknown-version"):
    os.abort()
sys.exit(1)
"""


@pytest.mark.parametrize(
    ("program", "recorded", "asked", "error", "words"),
    [
        ("micromamba", "micromamba-unknown-package", ("numpyy",), PackageUnknownError, ["numpyy does not exist"]),
        (
            "micromamba",
            "micromamba-unknown-version",
            ("numpy==9.9",),
            UnsatisfiableError,
            ["numpy =9.9 does not exist", "numpy is published as 2.1.0, 1.26.4"],
        ),
        (
            "micromamba",
            "micromamba-contradiction",
            ("python==3.8", "numpy==>=2.2"),
            UnsatisfiableError,
            ["\n└─ python =3.8 is not installable", "python_abi =3.8 *_cp38, which contradicts what is said above"],
        ),
        ("conda", "conda-rattler-unknown-package", ("numpyy",), PackageUnknownError, ["\n  - numpyy\n"]),
        (
            "conda",
            "conda-rattler-unknown-version",
            ("numpy==9.9",),
            UnsatisfiableError,
            ["numpy=9.9", "numpy is published as 2.1.0, 1.26.4"],
        ),
        (
            "conda",
            "conda-rattler-contradiction",
            ("python==3.8", "numpy==>=2.2"),
            UnsatisfiableError,
            ["these requirements contradict each other:\n├─ numpy >=2.2 cannot be installed:\n│  ├─ numpy 2.4.6"],
        ),
        ("conda", "conda-classic-unknown-package", ("numpyy",), PackageUnknownError, ["\n  - numpyy\n"]),
        (
            "conda",
            "conda-classic-unknown-version",
            ("numpy==9.9",),
            UnsatisfiableError,
            ["numpy is published as 2.1.0, 1.26.4"],
        ),
        # no version of it, since there is no such package
        ("conda", "conda-classic-unknown-version", ("numpy==9.9",), PackageUnknownError, ["numpy=9.9"]),
        ("conda", "conda-classic-contradiction", ("python==3.8",), UnsatisfiableError, ["conflicts for:\npython=3.8"]),
    ],
)
async def test_a_failure_is_explained(
    tmp_path: Path, program: str, recorded: str, asked: tuple[str, ...], error: type[AsyncCacheError], words: list[str]
) -> None:
    script = tmp_path / program
    info = json.dumps(INFO[program])
    script.write_text(SCRIPT.format(python=sys.executable, recorded=str(RECORDED / recorded), info=info), "utf-8")
    script.chmod(0o755)
    write_table_channels(tmp_path / "channels")
    settings = Settings(cache_dir=tmp_path / "cache", channel_alias=(tmp_path / "channels").as_uri())
    channel = "other" if error is PackageUnknownError else "conda-forge"
    request = Request({"conda": list(asked)}, {"conda": [channel]})
    resolver = CondaExecutableResolver(settings, program, environ={"PATH": str(tmp_path)})
    with pytest.raises(error) as caught:
        await resolver.resolve(Problem(request, "linux-64", "conda-only"))
    assert type(caught.value) is error
    for each in words:
        assert each in str(caught.value)
    assert "Resolving Environment" not in str(caught.value)
    assert "anaconda.org" not in str(caught.value)
