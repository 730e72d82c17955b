"""What a team that changes from the extension to asynccache relies on, with the real extension on the other side.

Both sides use one root and one list: the same requests, found again; the same keys, lines, import paths and exit codes;
both at once; and what the extension leaves behind on a local root and among its own environments.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from asynccache.store import layout
from tests.compat.beside import lost_beside
from tests.compat.place import ASYNCCACHE, SIDE, Place
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in

START: Final = "from metaflow.cmd.main_cli import start; start(prog_name='metaflow')"
FLOW: Final = Path(__file__).with_name("ask_flow.py")
PIP: Final = """
[global]
index-url = https://one.test/simple
extra-index-url = https://two.test/simple
[install]
index-url = https://three.test/simple
"""
CHANNELS: Final = """"channels": ["https://conda.anaconda.org/conda-forge/linux-64",
"https://conda.anaconda.org/conda-forge/noarch", "https://other.test/ch/linux-64", "https://other.test/ch/noarch"]"""
ODD: Final = (
    "https://host.test//ch//noarch/a-1-0.conda", "https://host.test/ch;a=b/noarch/a-1-0.conda;v=1?x=1",
    "http://[::1]:8080/ch/noarch/a-1-0.conda", "https://u:p@[2001:DB8::1]/ch/noarch/a-1-0.conda",
    "https://HOST.test:443/With%20Space/noarch/a-1-0.conda#frag",
)  # fmt: skip
# the contract's section 13, and what others import besides
IMPORTS: Final = """
import sys, metaflow
for top in sys.argv[1:]:
    for line in '''plugins.conda.conda Conda
plugins.conda.conda_environment CondaEnvironment
plugins.conda.conda_flow_mutator call_binary
plugins.conda.env_descr EnvID, EnvType, TStr, PypiPackageSpecification, CondaPackageSpecification, ResolvedEnvironment
plugins.conda.parsers req_parser, yml_parser, toml_parser, parse_req_value, parse_yml_value, parse_toml_value
plugins.conda.utils AliasType, CondaException, CondaStepException, arch_id, call_binary, resolve_env_alias
plugins.environment_cli cli, RunnerCLI, StepEnvInfo
plugins.huggingface HuggingFaceAuthProvider, HuggingFaceContext, HuggingFaceDecorator'''.splitlines():
        module, _, names = line.partition(" ")
        exec(f"from metaflow_extensions.{top}.{module} import {names}")
from metaflow.plugins.conda.utils import CondaException
from metaflow.plugins.huggingface import HuggingFaceAuthProvider
from metaflow import FlowAPI, conda, conda_base, huggingface, named_env, named_env_base, pip, pip_base, pypi, pypi_base
from metaflow import resolved_req, resolved_uv, sys_packages, sys_packages_base
from metaflow_extensions.netflixext.plugins.conda.utils import resolve_env_alias
print("RESULT", resolve_env_alias("a/b:v1")[1], resolve_env_alias("step:F/1/s")[0].value)
"""


def _ours(place: Place, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return place.run([str(place.launcher), *words], **more)


def _theirs(place: Place, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return place.run([str(place.python), *words], **more)


def _configured(place: Place) -> dict[str, str]:
    """Give both sides a pip with two first indexes, and a conda program with a channel of its own."""
    (place.directory / "pip.conf").write_text(PIP)
    pip = place.directory / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    pip.chmod(0o755)
    stub = place.directory / "bin" / "micromamba"
    text = stub.read_text()
    begin, end = text.index('"channels":'), text.index("]", text.index('"channels":')) + 1
    glibc = f'"virtual packages": ["__glibc={platform.libc_ver()[1]}=0"]'
    stub.write_text((text[:begin] + CHANNELS + text[end:]).replace('"virtual packages": []', glibc))
    shutil.copyfile(FLOW, place.directory / FLOW.name)
    return {"PIP_CONFIG_FILE": str(place.directory / "pip.conf")}


def _shown(place: Place, *, ours: bool, **more: str) -> dict[str, Any]:
    """Return what `environment show` says of each step of the flow."""
    output = place.directory / "shown.json"
    output.unlink(missing_ok=True)
    words = (FLOW.name, "--no-pylint", "--environment=conda", "--datastore", place.datastore, "environment", "show")
    variables = {name: value for name, value in place.variables.items() if name != "ASYNCCACHE_CHANNELS"}
    python = place.launcher if ours else place.python
    done = subprocess.run(
        [str(python), *words, "--output", str(output)], capture_output=True, text=True, cwd=place.directory,
        env={**variables, **more}, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"`environment show` failed: {(done.stderr or done.stdout)[-2000:]}")
    document: dict[str, Any] = json.loads(output.read_text())
    return document


def same_requests(place: Place, channel: SyntheticChannel, url: str) -> None:
    """A1 to A4: channels of the conda program, credentials, a second index-url, `*` and blanks; all found again."""
    del channel, url
    login = {"METAFLOW_CONDA_DEFAULT_PYPI_SOURCE": "https://user:pass@first.test/simple"}
    stub = place.directory / "bin" / "micromamba"
    before = stub.read_text()
    try:
        pip = _configured(place)
        for title, more in (("plain", pip), ("credentials in an index", {**pip, **login})):
            theirs = _shown(place, ours=False, **more)
            if more == pip:
                ours = _shown(place, ours=True, **more)
                for step, asked in theirs.items():
                    same = ours[step]["requested_hash"] == asked["requested_hash"]
                    place.check(f"step {step} has the same request", same, (asked, ours[step]))
            (place.directory / "asked.json").write_text(json.dumps(theirs))
            made = place.theirs("request", place.datastore, str(place.directory / "asked.json"))
            found = _shown(place, ours=True, **more)
            known = {step: asked["env_id"] for step, asked in found.items() if asked["env_id"]}
            place.check(f"ours finds what the extension resolved for each step ({title})", known == made, (known, made))
    finally:
        stub.write_text(before)


def same_keys(place: Place, channel: SyntheticChannel, url: str) -> None:
    """A8: keys of odd addresses."""
    del channel, url
    theirs = place.theirs("keys", place.datastore, *ODD)
    ours = {each: layout.key_of("conda", each, "a-1-0.conda", "0" * 32) for each in ODD}
    place.check("the extension makes the same keys of odd addresses", ours == theirs, (ours, theirs))


def same_names(place: Place, channel: SyntheticChannel, url: str) -> None:
    """B2: import paths; B5: the version line."""
    del channel, url
    tops = ("netflixext", "netflix_ext")  # `nflx` leads to the extension only where a package of that name is
    both = [_theirs(place, "-c", IMPORTS, *tops), _ours(place, "-c", IMPORTS, *tops, "nflx")]
    said = [next((x for x in done.stdout.splitlines() if x.startswith("RESULT")), done.stderr[-1500:]) for done in both]
    place.check("what programs import is there on both sides", said[0] == said[1] == "RESULT a/b/v1 pathspec", said)
    version = _ours(place, "-c", "import metaflow; print(metaflow.metaflow_version.get_version())").stdout
    place.check("Metaflow's version names ours", "+asynccache(" in version, version)


def _fields(said: str) -> list[list[str]]:
    """Return the fields of each line: names in order, and no stars, which Metaflow takes for marks of bold text."""
    found = [line.replace("*", "").split(" ") for line in said.splitlines() if line]
    return [[*row[:2], *sorted(row[2].split(",")), *row[3:]] if len(row) > 3 else row for row in found]


def same_lines(place: Place, channel: SyntheticChannel, url: str) -> None:
    """A5, B1, B4: what `metaflow environment` prints for programs, and how it ends."""
    del channel, url
    for words in (
        ("show", "ours/env:v1"), ("show", "theirs/env:v1", "--local-only"), ("show", "nobody/env"),
        ("get", "ours/env:v1"),
        ("get", "theirs/env:v1", "--no-default"), ("resolve", "-f", "missing.yml"), ("get", "nobody/env"),
        ("alias", "ours/env:v1", "both/env:v1"), ("alias", "theirs/env:v1", "both/env:v1"),
    ):  # fmt: skip
        asked = ("environment", "--quiet", "--datastore", place.datastore, *words)
        theirs, ours = (run(place, "-c", START, *asked) for run in (_theirs, _ours))
        lines = [_fields(done.stderr) if not done.returncode else [] for done in (theirs, ours)]
        text = " ".join(words)
        place.check(f"`{text}` prints the same line", lines[0] == lines[1], lines)
        place.check(f"`{text}` ends the same", theirs.returncode == ours.returncode, (theirs.stderr, ours.stderr))


def known_again(place: Place, words: list[str], ids: list[str]) -> None:
    """B1: `resolve` of what is known prints it and ends with 0, and solves nothing."""
    asked = ("environment", "--quiet", "--datastore", place.datastore, *words)
    channels = {"ASYNCCACHE_CHANNELS": '["conda-forge"]'}
    theirs, ours = (_fields(run(place, "-c", START, *asked, **channels).stderr) for run in (_theirs, _ours))
    place.check("the extension finds what ours resolved, and prints it", theirs[-1][:2] == ids, theirs)
    place.check("`resolve` of it prints the same here", theirs == ours, (theirs, ours))


def both_at_once(place: Place, channel: SyntheticChannel, url: str) -> None:
    """A6: both cache, publish and name environments on one root and one list at the same time."""
    packages = [f"{p.url}#{p.digests.md5}" for p in channel.packages(url, 14)]
    listed = place.directory / "both.txt"
    processes = {}
    for number in range(3):
        listed.write_text("@EXPLICIT\n" + "\n".join(packages[number : number + 6]))
        ours = [str(ASYNCCACHE), "env", "import", str(listed), "--arch", "linux-64", "--store", place.root]
        ours += ["--alias", f"at-once/ours{number}:v1", "--spec", f"conda::n{number}"]
        theirs = [str(place.python), str(SIDE), "write", place.datastore, f"at-once/theirs{number}", *packages[3:9]]
        for side, command in (("ours", ours), ("theirs", theirs)):
            processes[f"at-once/{side}{number}"] = subprocess.Popen(
                command, cwd=place.directory, env=place.variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        for process in list(processes.values())[-2:]:
            process.wait(300)
    for name, process in processes.items():
        said = (process.stdout.read() if process.stdout else b"").decode()[-800:]
        shown = place.ours("env", "show", f"{name}:v1", "--arch", "linux-64", "--json")
        place.check(
            f"{name} was written beside the other and is found", not process.returncode + shown.returncode, said
        )


def beside(place: Place, channel: SyntheticChannel, url: str) -> None:
    """A6: a hundred rounds on one list."""
    del channel, url
    directory = place.directory / "beside"
    directory.mkdir()
    lost = lost_beside(directory, place.python, SIDE, place.variables)
    place.check("a hundred rounds beside its writers lose nothing of ours", not lost, lost[:10])


def moved_away(place: Place, channel: SyntheticChannel, url: str) -> None:
    """A7: a local root out of which the extension has moved archives; environments of both on one machine."""
    del channel, url
    root = Path(place.root)
    before = {path.relative_to(root) for path in archives_in(root)}
    moved = place.theirs("move", place.datastore, "theirs/env:v1", str(place.directory / "moved"))["moved"]
    left = {path.relative_to(root) for path in archives_in(root)}
    place.check("the extension moves archives out of a local root", moved and left < before, moved)
    made = place.ours("create", "theirs/env:v1", "--json")
    place.check("ours makes the environment all the same", not made.returncode, made.stderr)
    now = {path.relative_to(root) for path in archives_in(root)}
    place.check("and the root has its archives back", now == before, sorted(map(str, before - now)))
    document = json.loads(made.stdout)
    ids = [document[name] for name in ("req_id", "full_id", "arch")]
    envs = place.directory / "conda" / "envs"
    envs.mkdir(parents=True, exist_ok=True)
    there = envs / f"metaflow_{ids[0]}_{ids[1]}"
    shutil.move(document["prefix"], there)
    found = place.theirs("created", place.datastore, *ids)["prefix"]
    place.check("the extension finds an environment by its name and marker", found == str(there), found)
    more = {"CONDA_ENVS_DIRS": str(envs)}
    used = json.loads(
        place.run([str(ASYNCCACHE), "create", "theirs/env:v1", "--store", place.root, "--json"], **more).stdout
    )
    place.check("ours uses one that lies among the conda program's", used["prefix"] == str(there), used)


EVERYWHERE: Final = (same_requests, same_keys, same_lines, both_at_once)
LOCAL: Final = (same_names, moved_away, beside)
