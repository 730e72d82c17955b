"""An executable that answers as conda, mamba or micromamba do: from a table, or with what was recorded.

`write_stub` writes it as a script whose behaviour is in a JSON file beside it. Every call is appended to `calls`
with its arguments and the environment variables that conda reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.support.testdata import REPOSITORY

VERSIONS: Final = {"conda": "24.5.0", "mamba": "2.0.5", "micromamba": "1.5.10"}
_SPEC: Final = re.compile(r"(?P<name>(?:.*::)?[^=<>!~ ]+)(?P<rest>.*)", re.DOTALL)


def write_stub(directory: Path, program: str, **behaviour: Any) -> Path:
    """Write a stub and return its path.

    Args:
        directory: Where programs are; made when absent.
        program: Its name.
        behaviour: `style` (conda, mamba, micromamba), `version`, `alias` (where channels are), `channels` (configured
            ones), `stdout`, `stderr`, `code` (recorded answer to `create`), `hang` (seconds), `orphan` (file that gets
            the id of a process that it leaves behind), `info` (recorded answer to `info`).
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / program
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from tests.support.conda_stub import main\nmain()\n",
        "utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    settings = {"style": program, **behaviour}
    (directory / f"{program}.json").write_text(json.dumps(settings), "utf-8")
    return path


def read_calls(directory: Path, program: str) -> list[dict[str, Any]]:
    """Return the calls of a stub so far."""
    log = directory / f"{program}.calls"
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def main() -> None:
    """Answer one call."""
    path = Path(sys.argv[0]).absolute()
    behaviour = json.loads(path.with_suffix(".json").read_text("utf-8"))
    arguments = sys.argv[1:]
    env = {key: value for key, value in os.environ.items() if key.startswith(("CONDA_", "MAMBA_"))}
    with path.with_suffix(".calls").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"arguments": arguments, "env": env}) + "\n")
    if "--version" in arguments:
        sys.stdout.write(behaviour.get("version", VERSIONS[behaviour["style"]]) + "\n")
        return
    if "info" in arguments:
        _say(behaviour.get("info") or _info(behaviour))
        return
    if orphan := behaviour.get("orphan"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        Path(orphan).write_text(str(child.pid), "utf-8")
    if seconds := behaviour.get("hang"):
        time.sleep(seconds)
    if behaviour.get("signal"):
        os.kill(os.getpid(), signal.SIGKILL)
    if "stdout" in behaviour or "stderr" in behaviour:
        sys.stdout.write(behaviour.get("stdout", ""))
        sys.stderr.write(behaviour.get("stderr", ""))
        sys.exit(behaviour.get("code", 0))
    sys.exit(asyncio.run(_create(behaviour, arguments)))


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


def _info(behaviour: dict[str, Any]) -> dict[str, Any]:
    style = behaviour["style"]
    version = behaviour.get("version", VERSIONS[style])
    channels = behaviour.get("channels", [])
    if style == "conda":
        return {"conda_version": version, "root_prefix": "/opt/conda", "channels": channels, "envs": []}
    return {f"{style} version": version, "base environment": "/opt/mamba", "channels": channels}


async def _create(behaviour: dict[str, Any], arguments: list[str]) -> int:
    from asynccache.config import Settings
    from asynccache.errors import AsyncCacheError, IndexUnreachableError, PackageUnknownError
    from asynccache.model.identity import Request
    from asynccache.resolve.conda.rattler_solver import RattlerResolver
    from asynccache.resolve.resolver import Problem
    from tests.support.conda_table import write_table_channels

    rest = arguments[arguments.index("create") + 1 :]
    channels, specs = [], []
    while rest:
        word = rest.pop(0)
        if word in {"-c", "--channel"}:
            channels.append(rest.pop(0))
        elif word in {"-r", "--prefix"}:
            rest.pop(0)
        elif not word.startswith("-"):
            specs.append(word)
    sys_values = [
        f"__{name}=={os.environ[f'CONDA_OVERRIDE_{name.upper()}']}"
        for name in ("glibc", "cuda")
        if os.environ.get(f"CONDA_OVERRIDE_{name.upper()}")
    ]
    request = Request(
        {"conda": [_value(spec) for spec in specs], "sys": sys_values},
        {"conda": list(dict.fromkeys([*channels, *behaviour.get("channels", [])]))},
    )
    try:
        with tempfile.TemporaryDirectory() as root:
            write_table_channels(Path(root))
            resolver = RattlerResolver(Settings(cache_dir=Path(root), channel_alias=Path(root).as_uri()))
            solution = await resolver.resolve(Problem(request, os.environ["CONDA_SUBDIR"], "conda-only"))
            published = behaviour.get("alias", "https://conda.anaconda.org")
            rows = [
                (replace(package, url=package.url.replace(Path(root).as_uri(), published)), solution.sizes[package.url])
                for package in solution.packages
            ]
    except AsyncCacheError as exc:
        kind = "unreachable" if isinstance(exc, IndexUnreachableError) else ""
        return _fail(behaviour["style"], kind or ("unknown" if isinstance(exc, PackageUnknownError) else ""), specs)
    _say({"success": True, "dry_run": True, "actions": actions(behaviour["style"], rows)})
    return 0


def actions(style: str, rows: list[tuple[Any, int]]) -> dict[str, Any]:
    """Return the actions of a dry run, in the shape of a program."""
    from tests.support.conda_table import TABLE

    fetch, link = [], []
    for package, size in rows:
        base, subdir, file = package.url.rsplit("/", 2)
        name, version, build = package.filename.rsplit("-", 2)
        common = {"name": name, "version": version, "build_number": 0, "md5": package.hashes[".conda"]}
        depends = next((list(row.depends) for row in TABLE if row.filename == package.filename), [])
        full = {
            **common,
            "depends": depends,
            "url": package.url,
            "sha256": package.hashes["sha256"],
            "size": size,
            "subdir": subdir,
        }
        fetch.append({**full, "build": build, "fn": file})
        if style == "conda":
            link.append(
                {
                    "name": name,
                    "version": version,
                    "build_string": build,
                    "build_number": 0,
                    "base_url": base,
                    "platform": subdir,
                    "dist_name": package.filename,
                    "channel": base.rpartition("/")[2],
                }
            )
        else:
            link.append({**full, "build": build, "build_string": build, "fn": file, "channel": base})
    # conda fetches in an order of its own
    return {"FETCH": fetch[::-1] if style == "conda" else fetch, "LINK": link, "PREFIX": "/tmp/prefix"}


def _value(spec: str) -> str:
    match = _SPEC.fullmatch(spec)
    assert match is not None
    rest = match["rest"].strip()
    return match["name"] if not rest else f"{match['name']}=={rest.removeprefix('==')}"


def _fail(style: str, kind: str, specs: list[str]) -> int:
    """Print what the program prints: conda an exception, the others problems and what they write to stderr."""
    names = [re.split(r"[=<>!~ ]", spec)[0] for spec in specs]
    from tests.support.conda_table import TABLE

    missing = [name for name in names if name not in {row.name for row in TABLE}]
    if style == "conda":
        name = {"unknown": "PackagesNotFoundError", "unreachable": "CondaHTTPError", "": "UnsatisfiableError"}[kind]
        message = {
            "unknown": f"The following packages are not available from current channels: {missing}",
            "unreachable": "HTTP 000 CONNECTION FAILED for url <https://conda.anaconda.org/unreachable/noarch>",
            "": "The following specifications were found to be incompatible with each other",
        }[kind]
        _say({"success": False, "exception_name": name, "error": message, "message": message})
        return 1
    if kind == "unreachable":
        sys.stderr.write("critical libmamba Download error (6) Could not resolve hostname [http://unreachable/]\n")
        return 1
    problem = f"nothing provides requested {missing[0]}" if missing else "package pandas-2.2.0 requires numpy <2"
    _say({"success": False, "solver_problems": [problem]})
    sys.stderr.write(f"error    libmamba Could not solve for environment specs\n{problem}\n")
    return 1
