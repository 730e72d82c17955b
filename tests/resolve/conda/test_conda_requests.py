"""Requests as people make them, solved or explained against indexes of a real channel.

The indexes are optional test data (`find_testdata`). What was found stands in `conda_requests.json`: number of packages
and a digest of their file names and md5 digests, the requested ones in full; for a failure its class and first words.
`ASYNCCACHE_UPDATE_GOLDEN=1` writes it again. Whether a solution holds is checked without it: every need of every
package is met by another one of the solution or by the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard
from rattler import MatchSpec, PackageRecord
from rattler.package import BuildString

from asynccache.config import Settings
from asynccache.errors import ResolutionError
from asynccache.model.identity import Request
from asynccache.model.package import parse_stem
from asynccache.resolve.conda.rattler_solver import RattlerResolver
from asynccache.resolve.requests.requirement_text import read_requirement
from asynccache.resolve.requests.virtual_packages import machine_profile
from asynccache.resolve.resolver import Problem, Solution
from tests.support.fault_server import FaultServer
from tests.support.testdata import find_testdata

GOLDEN: Final = Path(__file__).with_name("conda_requests.json")
ARCHITECTURES: Final = ("linux-64", "osx-arm64", "linux-aarch64")
CHANNEL: Final = "conda-forge-sampled"
REQUESTS: Final[dict[str, dict[str, list[str]]]] = {
    "python alone": {"conda": ["python==3.12.*"]},
    "python by two numbers": {"conda": ["python==3.11"]},
    "a range": {"conda": ["python==>=3.10,<3.11", "numpy==>=1.24,<2"]},
    "data": {"conda": ["python==3.11.*", "pandas", "requests"]},
    "learning": {"conda": ["python==3.12.*", "scikit-learn", "matplotlib-base"]},
    "columns": {"conda": ["python==3.12.*", "pyarrow"]},
    "lab": {"conda": ["python==3.12.*", "jupyterlab"]},
    "clusters": {"conda": ["python==3.12.*", "dask-core", "xgboost"]},
    "torch": {"conda": ["python==3.12.*", "pytorch"]},
    "linter without python": {"conda": ["ruff"], "npconda": ["ruff"]},
    "cloud": {"conda": ["python==3.12.*", "awscli"]},
    "pins": {"conda": ["python==3.11.*", "numpy==1.26.4", "pandas==2.*"]},
    "old glibc": {"conda": ["python==3.12.*", "polars"], "sys": ["__glibc==2.17=0"]},
    "old python": {"conda": ["python==3.8.*"]},
    "too old for numpy": {"conda": ["python==3.8.*", "numpy==>=2"]},
    "misspelt": {"conda": ["python==3.12.*", "numpyy", "scikit_learn"]},
    "nobody's version": {"conda": ["python==99"]},
    "no gpu": {"conda": ["python==3.12.*", "__cuda==>=12"]},
    "two pythons": {"conda": ["python==3.12.*", "python_abi==3.11.*"]},
    "only with markers": {"conda": ["python==3.12.*", 'tzdata;sys_platform == "linux"', "idna"]},
}
CASES: Final = [(name, arch) for name in REQUESTS for arch in ARCHITECTURES]
INDEXES: Final = (find_testdata() or Path("absent")) / "repodata"
UPDATING: Final = bool(os.environ.get("ASYNCCACHE_UPDATE_GOLDEN"))

pytestmark = pytest.mark.skipif(not (INDEXES / CHANNEL).is_dir(), reason="no indexes of a real channel here")


def settings_for(server: FaultServer, cache_dir: Path) -> Settings:
    # nothing of this machine: its kernel and processor must not decide
    return Settings(cache_dir=cache_dir, hack_channel_alias=server.url, channels=[CHANNEL], pin_virtual_packages=True)


def problem(name: str, arch: str) -> Problem:
    deps = {"sys": ["__glibc==2.28=0"] if arch.startswith("linux") else [], **REQUESTS[name]}
    return Problem(Request(deps, {"conda": [CHANNEL]}), arch, "conda-only")


@cache
def index(subdir: str) -> dict[str, dict[str, Any]]:
    data = (INDEXES / CHANNEL / subdir / "repodata.json.zst").read_bytes()
    document = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    rows = {**document["packages"], **document["packages.conda"]}
    return {file.removesuffix(".tar.bz2").removesuffix(".conda"): row for file, row in rows.items()}


def recorded(name: str, solution: Solution) -> dict[str, Any]:
    lines = sorted(package.filename for package in solution.packages)
    digest = hashlib.sha256("\n".join(f"{p.filename}#{p.published_hash}" for p in sorted_packages(solution)).encode())
    asked = {read_requirement(v).name for v in [*REQUESTS[name]["conda"], *REQUESTS[name].get("npconda", [])]}
    shown = [line for line in lines if parse_stem("conda", line).name in asked]
    return {"packages": len(lines), "sha256": digest.hexdigest()[:16], "asked": shown}


def sorted_packages(solution: Solution) -> list[Any]:
    return sorted(solution.packages, key=lambda package: package.filename)


def check_needs(solution: Solution, arch: str, settings: Settings, sys: list[str]) -> None:
    present = {
        package.name: PackageRecord(package.name, package.version, BuildString(package.build), 0, "noarch")
        for package in machine_profile(arch, sys, settings)
    }
    rows = []
    for package in solution.packages:
        row = index(package.url.split("/")[-2])[package.filename]
        assert row["md5"] == package.published_hash
        assert row["sha256"] == package.hashes["sha256"]
        assert solution.sizes.get(package.url) == row.get("size")
        rows.append(row)
        present[row["name"]] = PackageRecord(
            row["name"], row["version"], BuildString(row["build"]), row["build_number"], row["subdir"]
        )
    for row in rows:
        for need in row["depends"]:
            spec = MatchSpec(need)
            name = need.split()[0].split("[")[0].lower()
            assert name in present, f"{row['name']} needs {need}"
            assert spec.matches(present[name]), f"{row['name']} needs {need}"
        for limit in row.get("constrains", []):
            name = limit.split()[0].split("[")[0].lower()
            assert name not in present or MatchSpec(limit).matches(present[name]), f"{row['name']} limits {limit}"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes")


@pytest.mark.parametrize(("name", "arch"), CASES)
async def test_a_request_is_solved_or_explained(name: str, arch: str, cache_dir: Path) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else {}
    found: dict[str, Any]
    async with FaultServer(INDEXES) as server:
        settings = settings_for(server, cache_dir)
        asked = problem(name, arch)
        try:
            solution = await RattlerResolver(settings).resolve(asked)
        except ResolutionError as exc:
            words = exc.message.splitlines()
            found = {"error": type(exc).__name__, "words": words[min(1, len(words) - 1)][:100]}
            mentions_mirror = server.url.split("//")[1] in str(exc)
        else:
            check_needs(solution, arch, settings, list(asked.request.deps["sys"]))
            assert all(p.url.startswith(f"https://conda.anaconda.org/{CHANNEL}/") for p in solution.packages)
            found, mentions_mirror = recorded(name, solution), False
    assert not mentions_mirror
    key = f"{name}, {arch}"
    if UPDATING:
        golden[key] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", "utf-8")
    assert golden[key] == found


async def test_the_order_of_requirements_does_not_change_what_is_found(cache_dir: Path) -> None:
    async with FaultServer(INDEXES) as server:
        resolver = RattlerResolver(settings_for(server, cache_dir))
        asked = problem("data", "linux-64")
        turned = Problem(
            Request({**asked.request.deps, "conda": asked.request.deps["conda"][::-1]}, asked.request.sources),
            "linux-64",
            "conda-only",
        )
        assert sorted_packages(await resolver.resolve(asked)) == sorted_packages(await resolver.resolve(turned))


async def test_an_index_of_an_older_form_serves(cache_dir: Path) -> None:
    # without the part `info`, and each record with its own address
    async with FaultServer(INDEXES) as server:
        resolver = RattlerResolver(settings_for(server, cache_dir))
        request = Request({"conda": ["python==3.9.*", "setuptools==60.*"]}, {"conda": ["conda-forge-2024-05"]})
        solution = await resolver.resolve(Problem(request, "linux-64", "conda-only"))
    assert any(package.filename.startswith("python-3.9.19-") for package in solution.packages)
