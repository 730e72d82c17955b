"""Run the round trip with the real extension and say what passed: `make test-compat`.

Installs PyPI's `metaflow` and `metaflow-netflixext` into `.cache/compat`, once. For a local root and roots on S3
(SeaweedFS), Azure (Azurite) and Google Cloud (fake-gcs-server), all on loopback, or those that are named as arguments
(local, s3, azure, gs): ours imports an environment and names it, and the extension's own code finds it by its names and
ids, reads its document, packages and the local manifest; then the extension's own code caches and names another one,
and ours lists, shows, warms and verifies it. Then come the checks of `drop_in.py`. Ends with code 1 when a check
failed, 77 when the extension cannot be installed.
"""

from __future__ import annotations

import asyncio
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asynccache.node.metaflow_configuration import with_scheme
from tests.compat import drop_in
from tests.compat.place import Place, say
from tests.support.command_line import items_of
from tests.support.datastores import BUCKET, running_datastore
from tests.support.fault_server import FaultServer
from tests.support.metaflow_venv import NODE, launch_venv
from tests.support.small_channel import SyntheticChannel, write_small_channel
from tests.support.tiny_channel import write_tiny_channel

REPOSITORY: Final = Path(__file__).resolve().parents[2]
VENV: Final = REPOSITORY / ".cache" / "compat"
PACKAGES: Final = ("metaflow-netflixext>=1.3.15,<1.4", "metaflow>=2.16", *(p for of in NODE.values() for p in of))
PREFIX: Final = f"{BUCKET}/team"
ROOTS: Final = {"s3": f"s3://{PREFIX}/conda_env", "azure": f"{PREFIX}/conda_env", "gs": f"gs://{PREFIX}/conda_env"}
"""Datastore -> the cache's root, as Metaflow writes it."""
NOT_INSTALLED: Final = 77
ARCH: Final = "linux-64"
_SECONDS: Final = 300
# Answers what the extension asks of a conda program to find its package directory; it resolves nothing.
STUB: Final = """#!/bin/sh
cat <<'JSON'
{{"base environment": "{0}/base", "envs directories": ["{0}/envs"], "package cache": ["{0}/pkgs"],
"channels": ["https://conda.anaconda.org/conda-forge/linux-64"], "virtual packages": [],
"micromamba version": "1.5.8", "envs": []}}
JSON
"""


def installed() -> Path | None:
    """Return the interpreter that has the extension, installing it when it is not there; None when that fails."""
    python = VENV / "bin" / "python"
    modules = "metaflow, metaflow_extensions.netflixext.plugins.conda.conda, azure.storage.blob, google.cloud.storage"
    probe = [str(python), "-I", "-c", f"import {modules}"]
    if python.exists() and not subprocess.run(probe, capture_output=True, check=False).returncode:
        return python
    uv = Path(sys.executable).with_name("uv")
    VENV.parent.mkdir(exist_ok=True)
    for command in (
        [str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)],
        [str(uv), "pip", "install", "--quiet", "--python", str(python), *PACKAGES],
        probe,
    ):
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        if result.returncode:
            say(f"the extension cannot be installed: {result.stderr.strip()[-1000:]}")
            return None
    return python


def _prepared(place: Place) -> Place:
    for name in ("bin", "here", "conda"):
        (place.directory / name).mkdir(parents=True)
    stub = place.directory / "bin" / "micromamba"
    stub.write_text(STUB.format(place.directory / "conda"))
    stub.chmod(0o755)
    return place


def ours_to_theirs(place: Place, channel: SyntheticChannel, url: str) -> None:
    """Write with ours, read with the extension's own code."""
    listed = place.directory / "env.txt"
    packages = channel.packages(url, 8)
    listed.write_text("@EXPLICIT\n" + "".join(f"{p.url}#{p.digests.md5}\n" for p in packages))
    result = place.ours(
        "env", "import", str(listed), "--arch", ARCH, "--alias", "ours/env:v1", "--alias", "ours/env",
        "--format", ".conda", "--json",
    )  # fmt: skip
    place.check("ours imports, publishes and names an environment", not result.returncode, result.stderr)
    _read_by_theirs(place, json.loads(result.stdout)["environments"][0], "ours/env", 12)


def resolved_to_theirs(place: Place, channel: SyntheticChannel, url: str) -> None:
    """Resolve with ours, read with the extension's own code."""
    del channel, url
    root = write_tiny_channel(place.directory / "tiny")
    command = [sys.executable, "-m", "tests.support.fault_server", str(root), "--ttl", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            asked = place.directory / "environment.yml"
            asked.write_text(f"channels: [{address}]\ndependencies: [app, native]\n")
            result = place.ours(
                "resolve", str(asked), "--python", "3.11.*", "--arch", ARCH, "--alias", "found/env:v1",
                "--alias", "found/env", "--resolver", "rattler", "--json",
            )  # fmt: skip
            place.check(
                "ours resolves, caches, publishes and names an environment", not result.returncode, result.stderr
            )
            _read_by_theirs(place, json.loads(result.stdout)["environments"][0], "found/env", 4)
        finally:
            server.kill()


def same_ids(place: Place, channel: SyntheticChannel, url: str) -> None:
    """Resolve one request with ours and with the extension's own command, whose solver gives the same packages."""
    del channel, url
    write_tiny_channel(place.directory / "mirror" / "conda-forge", more=NODE.get(place.datastore, ()))
    asked = place.directory / "asked.yml"
    asked.write_text("dependencies:\n  - app\n  - native=1.1\n")
    words = ["resolve", "-f", str(asked), "--python", "3.11.*"]
    command = [sys.executable, "-m", "tests.support.fault_server", str(place.directory / "mirror"), "--ttl", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            mirror = {
                "ASYNCCACHE_HACK_CHANNEL_ALIAS": address,
                "ASYNCCACHE_MIRRORS": json.dumps({"https://conda.anaconda.org": [address]}),
                "ASYNCCACHE_CHANNELS": '["conda-forge"]',
            }
            ours = replace(place, environment={**place.environment, **mirror})
            pins = ("--metaflow-deps", place.datastore)
            result = ours.ours(*words, "--dry-run", *pins, "--resolver", "rattler", "--json")
            stored = ours.ours(*words, *pins, "--resolver", "rattler", "--json")
        finally:
            server.kill()
    place.check("ours resolves what the extension is asked for", not result.returncode, result.stderr)
    place.check("and caches and publishes it", not stored.returncode, stored.stderr)
    (row,) = json.loads(result.stdout)["environments"]
    links = [{"url": p["url"], "md5": p["hashes"][p["url_format"]]} for p in row["document"]["packages"]]
    answer = place.directory / "answer.json"
    answer.write_text(json.dumps({"success": True, "actions": {"LINK": links}}))
    stub = place.directory / "bin" / "micromamba"
    text = stub.read_text()
    glibc = f'"virtual packages": ["__glibc={platform.libc_ver()[1]}=0"]'
    solving = text.replace("cat <<", f'[ "$1" = create ] && exec cat {answer}\ncat <<', 1)
    stub.write_text(solving.replace('"virtual packages": []', glibc))
    metaflow = [str(place.python.with_name("metaflow")), "environment", "--quiet", "--datastore", place.datastore]
    try:
        theirs = place.run([*metaflow, *words, "--dry-run", "--force"])
        stub.write_text(text.replace('"virtual packages": []', glibc))  # from here on it solves nothing
        drop_in.known_again(place, words, [row["req_id"], row["full_id"]])
    finally:
        stub.write_text(text)
    found = next((line.split() for line in theirs.stderr.splitlines() if len(line.split()) > 5), ["", ""])
    place.check("the extension's own command computes the same req_id", found[0] == row["req_id"], theirs.stderr)
    place.check("the extension's own command computes the same full_id", found[1] == row["full_id"], theirs.stderr)


def _read_by_theirs(place: Place, env_id: dict[str, Any], name: str, count: int) -> None:
    ids = [env_id["req_id"], env_id["full_id"], ARCH]
    shown = json.loads(place.ours("env", "show", f"{name}:v1", "--arch", ARCH, "--json").stdout)
    seen = place.theirs("read", place.datastore, f"{name}:v1", name, *ids)
    for kind, found in seen["found"].items():
        place.check(f"the extension finds it by its {kind} name", found == ids, found)
    place.check("the extension finds it by the alias of its full id", seen["full_id_alias"] == [ids], seen)
    wanted = _as_stored(shown, seen["document"])
    place.check("the extension reads every field of the document and would write it as it is",
                seen["document"] == wanted, seen["document"])  # fmt: skip
    place.check(
        "the extension looks for the document where it is", seen["key"].endswith(f"{ARCH}/{ids[0]}/{ids[1]}/env")
    )
    place.check("the extension computes the same req_id", seen["req_id"] == ids[0], seen["req_id"])
    place.check("the extension computes the same full_id", seen["full_id"] == ids[1], seen["full_id"])
    place.check("the extension reads our local manifest and its default", seen["default_here"] == ids, seen)
    place.check("the extension finds it without the store", seen["local_only"])
    forms = seen["packages"].values()
    place.check(
        f"the extension loads all {len(forms)} archives", len(forms) == count and all(f["there"] for f in forms)
    )
    place.check("every archive has the digest of its key", all(f["verified"] for f in forms))
    place.check("the extension computes the same keys", all(f["same_key"] for f in forms))


def _as_stored(shown: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a document out of what a command shows: its moment with a zone, and to the second."""
    found = {key: shown[key] for key in stored}
    moment = datetime.fromisoformat(stored["resolved_on"]).replace(microsecond=0)
    if datetime.fromisoformat(found["resolved_on"]).astimezone().replace(tzinfo=None) == moment:
        found["resolved_on"] = stored["resolved_on"]
    return found


def theirs_to_ours(place: Place, channel: SyntheticChannel, url: str) -> None:
    """Write with the extension's own code, read with ours."""
    packages = channel.packages(url, 14)[8:]
    urls = [f"{p.url}#{p.digests.md5}" for p in packages]
    written = place.theirs("write", place.datastore, "theirs/env", *urls)
    ids = written["env_id"]
    shown = place.ours("env", "show", "theirs/env:v1", "--arch", ARCH, "--json")
    place.check("ours reads what the extension wrote", not shown.returncode, shown.stderr)
    document = json.loads(shown.stdout)
    same = _as_stored(document, written["document"]) == written["document"]
    place.check("every field is the extension's", same, document)
    for name in ("theirs/env", f"{ids[0]}:{ids[1]}", ids[1]):
        found = place.ours("env", "show", name, "--arch", ARCH, "--json")
        same = not found.returncode and [json.loads(found.stdout)[k] for k in ("req_id", "full_id", "arch")] == ids
        place.check(
            f"ours finds it by {'its full id' if name == ids[1] else name.partition(':')[0][:12]}", same, found.stderr
        )
    rows = items_of(place.ours("env", "ls", "--json").stdout)
    mine: dict[str, Any] = next((r for r in rows if r["full_id"] == ids[1]), {})
    place.check(
        "ours lists it with both names, here and in the store",
        (mine.get("names"), mine.get("local"), mine.get("remote"), mine.get("default"))
        == (["theirs/env:latest", "theirs/env:v1"], True, True, True),
        mine,
    )
    place.check(
        "what ours had written in the manifest is still there", any(r["names"][:1] == ["ours/env:latest"] for r in rows)
    )
    warmed = place.ours("warm", "--env", "theirs/env:v1", "--arch", ARCH, "--json")
    receipt = json.loads(warmed.stdout)
    row = receipt["environments"][0]
    place.check("ours warms it without fetching and verifies every archive",
                (warmed.returncode, row["verified"], receipt["fetched_bytes"]) == (0, 6, 0), warmed.stdout)  # fmt: skip
    taken = place.ours("env", "alias", "theirs/env:v1", "ours/env:v1")
    place.check("ours refuses to give its immutable name away", taken.returncode == 19 and "immutable" in taken.stderr)
    history = place.ours("env", "history", "theirs/env:latest", "--json")
    place.check("ours notices a move that the extension made", '"another writer"' in history.stdout, history.stderr)
    verified = place.ours("verify", "--json")
    place.check("nothing in the store is damaged", not verified.returncode, verified.stdout + verified.stderr)


async def _run(place: Place) -> Place:
    channel = write_small_channel(place.directory / "channel")
    async with FaultServer(channel.root) as server:
        parts = (ours_to_theirs, resolved_to_theirs, same_ids, theirs_to_ours)
        for part in (*parts, *drop_in.EVERYWHERE, *(drop_in.LOCAL if place.datastore == "local" else ())):
            await _guarded(place, part, channel, server.url)
    return place


async def _guarded(
    place: Place, part: Callable[[Place, SyntheticChannel, str], None], channel: SyntheticChannel, url: str
) -> None:
    try:
        await asyncio.to_thread(part, place, channel, url)
    except (RuntimeError, ValueError, KeyError, IndexError, subprocess.TimeoutExpired) as exc:
        place.check(f"{part.__name__} runs to its end", holds=False, detail=exc)


def run(python: Path, kinds: Collection[str] = ("local", *ROOTS)) -> list[Place]:
    """Run both directions on roots of some datastores."""
    places = []
    with tempfile.TemporaryDirectory(prefix="asynccache-compat-") as name:
        directory = Path(name)
        if "local" in kinds:
            root = directory / "local-root"
            variables, launcher = {"METAFLOW_CONDA_LOCALROOT": str(root)}, launch_venv() / "bin" / "python"
            local = Place("local", str(root), "local", variables, directory / "local", python, launcher)
            places.append(asyncio.run(_run(_prepared(local))))
        for kind, written in ROOTS.items():
            if kind not in kinds:
                continue
            with running_datastore(kind, directory / f"{kind}-server") as kept:
                environment = {
                    **kept.login,
                    **kept.settings,
                    f"METAFLOW_CONDA_{kind.upper()}ROOT": written,
                    f"METAFLOW_DATASTORE_SYSROOT_{kind.upper()}": written.rpartition("/")[0],
                }
                launcher = launch_venv(*(() if kind == "s3" else NODE[kind])) / "bin" / "python"
                address = with_scheme(written, kind)
                place = Place(kind, address, kind, environment, directory / kind, python, launcher)
                places.append(asyncio.run(_run(_prepared(place))))
    return places


def main(kinds: Collection[str]) -> int:
    """Run everything, or what is named; return the exit code."""
    python = installed()
    if python is None:
        return NOT_INSTALLED
    places = run(python, kinds) if kinds else run(python)
    failed = sum(len(p.failed) for p in places)
    say(f"{sum(len(p.passed) for p in places)} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
