"""conda, mamba and micromamba by contract: the exact call, both shapes of answer, every way to fail."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.errors import (
    AsyncCacheError,
    DiskError,
    IndexRefusedError,
    IndexUnreachableError,
    PackageUnknownError,
    ResolverFailedError,
    ResolverMissingError,
    ResolveTimeoutError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.identity import Request
from asynccache.resolve.conda.executable import CondaExecutableResolver
from asynccache.resolve.conda.find_programs import find_program
from asynccache.resolve.resolver import Problem
from tests.support.conda_stub import read_calls, write_stub
from tests.support.waiting import alive, until_it_holds

SECRET = "hunter2-of-the-program"
MD5 = "0123456789abcdef0123456789abcdef"
SHA256 = "e" * 64
HOST = "https://conda.anaconda.org/conda-forge"
# As conda 24 prints it: two packages fetched in another order than they are linked in.
CONDA_ANSWER: dict[str, Any] = {
    "success": True,
    "dry_run": True,
    "prefix": "/tmp/prefix",
    "actions": {
        "PREFIX": "/tmp/prefix",
        "FETCH": [
            {
                "name": "six",
                "version": "1.16.0",
                "build": "pyh6c4a22f_0",
                "build_number": 0,
                "subdir": "noarch",
                "url": f"{HOST}/noarch/six-1.16.0-pyh6c4a22f_0.tar.bz2",
                "md5": "a" * 32,
                "sha256": "b" * 64,
                "size": 14259,
            },
            {
                "name": "openssl",
                "version": "3.3.1",
                "build": "h4ab18f5_0",
                "build_number": 0,
                "subdir": "linux-64",
                "url": f"{HOST}/linux-64/openssl-3.3.1-h4ab18f5_0.conda",
                "md5": MD5,
                "sha256": SHA256,
                "size": 2896170,
            },
        ],
        "LINK": [
            {
                "base_url": HOST,
                "build_number": 0,
                "build_string": "h4ab18f5_0",
                "channel": "conda-forge",
                "dist_name": "openssl-3.3.1-h4ab18f5_0",
                "name": "openssl",
                "platform": "linux-64",
                "version": "3.3.1",
            },
            {
                "base_url": HOST,
                "build_number": 0,
                "build_string": "pyh6c4a22f_0",
                "channel": "conda-forge",
                "dist_name": "six-1.16.0-pyh6c4a22f_0",
                "name": "six",
                "platform": "noarch",
                "version": "1.16.0",
            },
        ],
    },
}
MAMBA_ANSWER: dict[str, Any] = {
    "success": True,
    "actions": {
        "FETCH": [],
        "LINK": [
            {
                "build": "h4ab18f5_0",
                "build_string": "h4ab18f5_0",
                "channel": "conda-forge",
                "fn": "openssl-3.3.1-h4ab18f5_0.conda",
                "md5": MD5,
                "sha256": SHA256,
                "name": "openssl",
                "size": 2896170,
                "subdir": "linux-64",
                "url": f"{HOST}/linux-64/openssl-3.3.1-h4ab18f5_0.conda",
                "version": "3.3.1",
            }
        ],
    },
}


def problem(*conda: str, **parts: Any) -> Problem:
    deps = {"conda": list(conda), "npconda": parts.pop("npconda", []), "sys": parts.pop("sys", [])}
    sources = {"conda": parts.pop("channels", ["conda-forge"])}
    return Problem(Request(deps, sources), parts.pop("arch", "linux-64"), "conda-only", **parts)


def resolver(
    directory: Path, program: str, settings: Settings | None = None, **behaviour: Any
) -> CondaExecutableResolver:
    behaviour.setdefault("channels", [f"{HOST}/linux-64", f"{HOST}/noarch"])
    write_stub(directory, program, **behaviour)
    settings = settings or Settings(cache_dir=directory / "cache", channel_alias=(directory / "channels").as_uri())
    return CondaExecutableResolver(settings, program, environ={"PATH": str(directory)})


def answer(program: str) -> str:
    return json.dumps(CONDA_ANSWER if program == "conda" else MAMBA_ANSWER, indent=2)


async def created(directory: Path, program: str) -> dict[str, Any]:
    calls = read_calls(directory, program)
    assert len(calls) == 2
    assert calls[0]["arguments"] == ["info", "--json"]
    return calls[1]


@pytest.mark.parametrize("program", ["conda", "mamba", "micromamba"])
async def test_the_call_is_the_contracts(tmp_path: Path, program: str) -> None:
    solver = resolver(tmp_path, program, stdout=answer(program))
    await solver.resolve(
        problem("python==3.11", "pandas==>=1.0,<2", "x==*", "y====2", npconda=["git"], sys=["__glibc==2.27=0"])
    )
    call = await created(tmp_path, program)
    arguments = call["arguments"]
    prefix = arguments[3]
    assert arguments == [
        "create",
        "--yes",
        "--prefix",
        prefix,
        "--dry-run",
        "python==3.11.*",
        "pandas>=1.0,<2",
        "x",
        "y==2",
        "git",
        *(["-r", "/opt/mamba", "--json"] if program == "micromamba" else []),
    ]
    temp = Path(prefix).parent
    root = "/opt/conda" if program == "conda" else "/opt/mamba"
    assert call["env"] == {
        "CONDA_JSON": "True",
        "MAMBA_JSON": "True",
        "MAMBA_NO_BANNER": "1",
        "CONDA_SUBDIR": "linux-64",
        "CONDA_PKGS_DIRS": f"{tmp_path}/cache/conda-index/{os.geteuid()}/{program}",
        "CONDA_ENVS_DIRS": f"{temp}/envs",
        "CONDA_ROOT": root,
        "CONDA_UNSATISFIABLE_HINTS_CHECK_DEPTH": "0",
        "CONDA_OVERRIDE_GLIBC": "2.27",
    }
    assert not temp.exists()


@pytest.mark.parametrize("program", ["conda", "micromamba"])
async def test_channels_that_are_not_configured_are_named_and_mixed(tmp_path: Path, program: str) -> None:
    solver = resolver(tmp_path, program, stdout=answer(program))
    await solver.resolve(problem("six", channels=["bioconda", "conda-forge", "https://host/own"]))
    call = await created(tmp_path, program)
    assert call["arguments"][5:9] == ["-c", "bioconda", "-c", "https://host/own"]
    assert call["env"]["CONDA_CHANNEL_PRIORITY"] == "flexible"
    assert ("MAMBA_CHANNEL_PRIORITY" in call["env"]) == (program == "micromamba")


async def test_channels_that_nodefaults_switches_off_are_not_asked(tmp_path: Path) -> None:
    solver = resolver(tmp_path, "conda", stdout=answer("conda"), channels=[HOST, "https://host/own"])
    channels = ["https://host/own", "nodefaults", "conda-forge"]
    await solver.resolve(problem("six", channels=channels, left_out=("conda-forge",)))
    call = await created(tmp_path, "conda")
    assert call["arguments"][5:] == ["--override-channels", "-c", "https://host/own", "six"]


async def test_a_channel_in_a_requirement_mixes_channels(tmp_path: Path) -> None:
    await resolver(tmp_path, "conda", stdout=answer("conda")).resolve(problem("conda-forge::six==1.16.0"))
    call = await created(tmp_path, "conda")
    assert call["arguments"][5:] == ["conda-forge::six==1.16.0"]
    assert call["env"]["CONDA_CHANNEL_PRIORITY"] == "flexible"


async def test_an_own_installation_gets_its_configuration_and_root(tmp_path: Path) -> None:
    root = tmp_path / "local"
    write_stub(root / "bin", "micromamba", stdout=answer("micromamba"), channels=[HOST])
    settings = Settings(conda_local_path=root)
    with pytest.raises(ResolverMissingError, match="Could not find conda binary for micromamba"):
        CondaExecutableResolver(settings, "micromamba")
    (root / ".metaflow-local-env").write_text("{}", "utf-8")
    await CondaExecutableResolver(settings, "micromamba", environ={}).resolve(problem("six"))
    call = await created(root / "bin", "micromamba")
    assert call["arguments"][:5] == ["--rc-file", f"{root}/.mambarc", "-r", str(root), "create"]
    assert call["arguments"][-2:] == ["six", "--json"]
    assert call["env"]["MAMBA_ROOT_PREFIX"] == str(root)


async def test_condas_two_lists_are_joined_in_the_order_of_linking(tmp_path: Path) -> None:
    solution = await resolver(tmp_path, "conda", stdout=answer("conda")).resolve(problem("six"))
    assert [p.filename for p in solution.packages] == ["openssl-3.3.1-h4ab18f5_0", "six-1.16.0-pyh6c4a22f_0"]
    assert solution.packages[1].hashes == {".tar.bz2": "a" * 32, "sha256": "b" * 64}
    assert solution.packages[1].url_format == ".tar.bz2"
    assert solution.sizes[solution.packages[0].url] == 2896170


@pytest.mark.parametrize("program", ["mamba", "micromamba"])
async def test_mambas_links_hold_all(tmp_path: Path, program: str) -> None:
    solution = await resolver(tmp_path, program, stdout=answer(program)).resolve(problem("openssl"))
    package = solution.packages[0]
    assert (package.filename, package.hashes) == ("openssl-3.3.1-h4ab18f5_0", {".conda": MD5, "sha256": SHA256})


async def test_an_answer_is_found_among_progress_and_banners(tmp_path: Path) -> None:
    noise = '{"fetch": "repodata", "progress": 0.5, "finished": false}\n\x00WARNING: {not json}\n'
    solution = await resolver(tmp_path, "conda", stdout=f"{noise}{answer('conda')}\n").resolve(problem("six"))
    assert len(solution.packages) == 2


async def test_a_mirrors_addresses_become_those_of_the_public_host(tmp_path: Path) -> None:
    text = answer("mamba").replace("conda.anaconda.org", "mirror.example/conda")
    settings = Settings(hack_channel_alias="mirror.example/conda")
    solution = await resolver(tmp_path, "mamba", settings, stdout=text).resolve(problem("six"))
    assert solution.packages[0].url == f"{HOST}/linux-64/openssl-3.3.1-h4ab18f5_0.conda"


async def test_credentials_in_an_answer_are_not_recorded(tmp_path: Path) -> None:
    text = answer("mamba").replace("https://conda.anaconda.org", f"https://me:{SECRET}@conda.anaconda.org/t/{SECRET}")
    solution = await resolver(tmp_path, "mamba", stdout=text).resolve(problem("six"))
    assert solution.packages[0].url == f"{HOST}/linux-64/openssl-3.3.1-h4ab18f5_0.conda"


FAILURES: list[tuple[str, dict[str, Any], type[AsyncCacheError], str]] = [
    (
        "conda",
        {"exception_name": "UnsatisfiableError", "message": "numpy >=2 conflicts with pandas", "success": False},
        UnsatisfiableError,
        "numpy >=2 conflicts with pandas",
    ),
    (
        "conda",
        {"exception_name": "PackagesNotFoundError", "message": "not available: - numpyy", "packages": ["numpyy"]},
        PackageUnknownError,
        "numpyy",
    ),
    (
        "conda",
        {"exception_name": "CondaHTTPError", "message": f"HTTP 403 FORBIDDEN for url <https://me:{SECRET}@host/x>"},
        IndexUnreachableError,
        "HTTP 403 FORBIDDEN for url <https://host/x>",
    ),
    ("conda", {"exception_name": "InvalidVersionSpec", "message": "Invalid version '>=>1'"}, UsageError, ">=>1"),
    ("conda", {"exception_name": "SomethingNewError", "message": "what"}, ResolverFailedError, "SomethingNewError"),
    # conda with libmamba: the name stands there, whatever `success` says
    (
        "conda",
        {"exception_name": "LibMambaUnsatisfiableError", "message": "nothing provides __cuda", "success": True},
        UnsatisfiableError,
        "__cuda",
    ),
    (
        "micromamba",
        {"success": False, "solver_problems": ["package a-1-0 requires b >=2, but none of the providers"]},
        UnsatisfiableError,
        "requires b >=2",
    ),
    (
        "mamba",
        {"success": False, "solver_problems": ["nothing provides requested numpyy"]},
        PackageUnknownError,
        "numpyy",
    ),
    (
        "mamba",
        {"success": False, "solver_problems": ["nothing provides requested numpy >=99"]},
        UnsatisfiableError,
        "numpy >=99",
    ),
    ("mamba", {"success": False}, ResolverFailedError, "mamba returned error"),
    ("mamba", {"success": True, "actions": {"LINK": [{"name": "x"}]}}, ResolverFailedError, "cannot be read"),
    ("mamba", {"success": True, "actions": {"LINK": [{"url": "https://h/x.txt"}]}}, ResolverFailedError, "x.txt"),
    ("mamba", {"success": True, "actions": {}}, ResolverFailedError, "without naming a package"),
    ("mamba", {"success": True, "actions": "none"}, ResolverFailedError, "cannot be read"),
]


# a program that fails does not say that it succeeded
@pytest.mark.parametrize(
    ("program", "document", "error", "words", "code"),
    [
        (*case, code)
        for case in FAILURES
        for code in (0, 1)
        if not code or not case[1].get("success") or "exception_name" in case[1]
    ],
)
async def test_a_failure_is_told_apart(
    tmp_path: Path, program: str, document: dict[str, Any], error: type[AsyncCacheError], words: str, code: int
) -> None:
    solver = resolver(tmp_path, program, stdout=json.dumps(document), code=code)
    with pytest.raises(error) as caught:
        await solver.resolve(problem("six"))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        (
            "critical libmamba Download error (7) Could not connect to server [http://127.0.0.1:9/x]",
            IndexUnreachableError,
        ),
        ("error libmamba Could not solve for environment specs\n  a and b are incompatible", UnsatisfiableError),
        (
            "error libmamba ...\n└─ numpyy =* * does not exist (perhaps a typo or a missing channel).",
            PackageUnknownError,
        ),
    ],
)
async def test_what_only_stands_in_the_other_stream_is_told_apart(
    tmp_path: Path, stderr: str, error: type[AsyncCacheError]
) -> None:
    with pytest.raises(error):
        await resolver(tmp_path, "micromamba", stdout="", stderr=stderr, code=1).resolve(problem("six"))


async def test_a_package_of_another_channel_than_it_is_linked_from_is_refused(tmp_path: Path) -> None:
    text = answer("conda").replace(f'"base_url": "{HOST}"', '"base_url": "https://other/channel"')
    with pytest.raises(ResolverFailedError, match="from another channel"):
        await resolver(tmp_path, "conda", stdout=text).resolve(problem("six"))


async def test_a_crash_shows_its_last_lines_without_credentials(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(100)]
    text = "\n".join([*lines, f"GET https://me:{SECRET}@host/t/{SECRET}/x", f"Authorization: Basic {SECRET}", SECRET])
    settings = Settings(auth={"host": ["me", SECRET]})
    with pytest.raises(ResolverFailedError) as caught:
        await resolver(tmp_path, "conda", settings, stdout="", stderr=text, code=3).resolve(problem("six"))
    shown = str(caught.value)
    assert "conda returned error (3)" in shown
    assert "line 99" in shown
    assert "line 50" not in shown
    assert SECRET not in shown


async def test_garbage_is_a_failure_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ResolverFailedError, match="not json at all"):
        await resolver(tmp_path, "conda", stdout="not json at all {{{", code=0).resolve(problem("six"))


async def test_a_program_that_is_killed_says_by_which_signal(tmp_path: Path) -> None:
    with pytest.raises(ResolverFailedError, match="conda was ended by signal 9"):
        await resolver(tmp_path, "conda", signal=True).resolve(problem("six"))


async def test_a_program_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    orphan = tmp_path / "orphan"
    solver = resolver(tmp_path / "bin", "conda", hang=300, orphan=str(orphan))
    with pytest.raises(ResolveTimeoutError, match=r"solving with conda for linux-64 took longer than 1\.5 s"):
        await solver.resolve(problem("six", timeout=1.5))
    await until_it_holds(lambda: not alive(int(orphan.read_text("utf-8"))))


async def test_a_cancelled_solve_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    orphan = tmp_path / "orphan"
    solver = resolver(tmp_path / "bin", "conda", hang=300, orphan=str(orphan))
    task = asyncio.ensure_future(solver.resolve(problem("six")))
    await until_it_holds(lambda: orphan.exists() and orphan.read_text("utf-8"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_it_holds(lambda: not alive(int(orphan.read_text("utf-8"))))
    assert not Path(read_calls(tmp_path / "bin", "conda")[-1]["arguments"][3]).parent.exists()


@pytest.mark.parametrize(
    ("program", "style", "version"),
    [
        ("conda", "conda", "4.13.9"),
        ("mamba", "conda", "4.9.0"),
        ("mamba", "mamba", "1.9.9"),
        ("micromamba", "micromamba", "1.3.9"),
        ("conda", "conda", "unknown"),
    ],
)
async def test_a_version_that_is_too_old_is_refused(tmp_path: Path, program: str, style: str, version: str) -> None:
    solver = resolver(tmp_path, program, style=style, version=version, stdout=answer("conda"))
    with pytest.raises(ResolverMissingError, match=f"or newer, found {version}"):
        await solver.resolve(problem("six"))


async def test_mamba_1_is_called_and_read_as_conda(tmp_path: Path) -> None:
    solver = resolver(tmp_path, "mamba", style="conda", stdout=answer("conda"))
    assert len((await solver.resolve(problem("six"))).packages) == 2
    assert (await created(tmp_path, "mamba"))["env"]["CONDA_ROOT"] == "/opt/conda"


async def test_a_version_key_of_another_spelling_is_understood(tmp_path: Path) -> None:
    info = {"micromamba (static) version": "1.5.1", "base environment": "/opt/m", "channels": []}
    solver = resolver(tmp_path, "micromamba", info=info, stdout=answer("micromamba"))
    assert (await solver.installation()).version == "1.5.1"


async def test_information_is_asked_once(tmp_path: Path) -> None:
    solver = resolver(tmp_path, "mamba", stdout=answer("mamba"))
    await solver.resolve(problem("six"))
    await solver.resolve(problem("six"))
    assert [call["arguments"][0] for call in read_calls(tmp_path, "mamba")] == ["info", "create", "create"]


async def test_indexes_are_kept_for_this_user_and_serve_offline(tmp_path: Path) -> None:
    solver = resolver(tmp_path, "conda", stdout=answer("conda"))
    with pytest.raises(IndexRefusedError, match=r"nothing was kept of .*conda-forge.* for linux-64.*without --offline"):
        await solver.resolve(problem("six", offline=True))
    await solver.resolve(problem("six"))
    await solver.resolve(problem("six", offline=True))
    _, first, second = (call["env"] for call in read_calls(tmp_path, "conda"))
    kept = Path(first["CONDA_PKGS_DIRS"])
    assert second["CONDA_PKGS_DIRS"] == str(kept)
    assert (second["CONDA_OFFLINE"], first.get("CONDA_OFFLINE")) == ("True", None)
    assert kept.is_relative_to(tmp_path / "cache")
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    for other in (problem("six", offline=True, channels=["own"]), problem("six", offline=True, arch="osx-arm64")):
        with pytest.raises(IndexRefusedError):
            await solver.resolve(other)
    kept.parent.chmod(0o777)
    with pytest.raises(DiskError, match="other users can write"):
        await solver.resolve(problem("six"))


async def test_a_machine_of_another_architecture_is_told_to_the_program(tmp_path: Path) -> None:
    sys_packages = {"osx-arm64": {"__osx": "13.0"}}
    settings = Settings(cache_dir=tmp_path / "cache", sys_default_packages=sys_packages, pin_virtual_packages=True)
    solver = resolver(tmp_path, "micromamba", settings, stdout=answer("micromamba"))
    for arch, sys in (("osx-arm64", []), ("linux-64", ["__glibc==2.27=0", "__cuda==12.4=0"])):
        await solver.resolve(problem("six", arch=arch, sys=sys))
    overrides = [
        {key.removeprefix("CONDA_OVERRIDE_"): value for key, value in call["env"].items() if "OVERRIDE" in key}
        for call in read_calls(tmp_path, "micromamba")[1:]
    ]
    assert overrides == [
        {"OSX": "13.0", "ARCHSPEC": "m1", "CUDA": ""},
        {"LINUX": "5.10", "GLIBC": "2.27", "ARCHSPEC": "x86_64", "CUDA": "12.4"},
    ]


@pytest.mark.parametrize("program", ["conda", "mamba", "micromamba"])
async def test_a_real_program_solves(tmp_path: Path, program: str) -> None:
    named = os.environ.get(f"ASYNCCACHE_TEST_{program.upper()}")
    if not named:
        pytest.skip(f"ASYNCCACHE_TEST_{program.upper()} names no program")
    from tests.support.conda_table import write_table_channels
    from tests.support.fault_server import FaultServer

    write_table_channels(tmp_path / "channels")
    environ = {**os.environ, "PATH": str(Path(named).parent)}
    assert find_program(program, Settings(), environ=environ) is not None
    async with FaultServer(tmp_path / "channels") as server:
        solver = CondaExecutableResolver(Settings(), program, environ=environ)
        channel = f"{server.url}/conda-forge"
        solution = await solver.resolve(problem("tool", "b==1", channels=[channel]))
        assert {p.filename for p in solution.packages} == {"tool-3.0-0", "b-1-0"}
        with pytest.raises((PackageUnknownError, UnsatisfiableError), match="numpyy"):
            await solver.resolve(problem("numpyy", channels=[channel]))
