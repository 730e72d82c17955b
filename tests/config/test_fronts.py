"""`asynccache config`, `metaflow environment config` and a session are asked the same, and say the same."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.config.configurations import CONFIGURATIONS, Configuration
from tests.support.effort import share
from tests.support.metaflow_venv import CannotInstallError, launch_venv

CHOSEN = share(CONFIGURATIONS, 2)
PROGRAM = Path(__file__).with_name("fronts.py")
Answers = dict[str, list[Any]]


@pytest.fixture(scope="module")
def answers() -> list[Answers]:
    try:
        venv = launch_venv()
    except CannotInstallError as exc:
        pytest.skip(str(exc))
    asked = json.dumps([asdict(each) for each in CHOSEN])
    words = [str(venv / "bin" / "python"), "-I", str(PROGRAM)]
    done = subprocess.run(words, input=asked, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Answers] = json.loads(done.stdout)
    return found


def _rows(text: str) -> dict[str, Any]:
    line = next(line for line in text.splitlines() if line.startswith('[{"type"'))
    return {row["setting"]: row["value"] for row in json.loads(line) if row["type"] == "item"}


def _wrong(configuration: Configuration, answer: Answers) -> list[str]:
    """Return what is wrong with the answers."""
    said = {front: text for front, (_code, text) in answer.items()}
    codes = {front: code for front, (code, _text) in answer.items()}
    if configuration.refused or configuration.name.startswith("a damaged"):
        found = [f"{f} ends with {c}" for f, c in codes.items() if not c]
        found += [f"{f} does not say why" for f in codes if configuration.refused.lower() not in said[f].lower()]
        if codes["command"] != 3 or codes["session"] != 3:
            found.append(f"exit codes {codes}")
        return found
    if any(codes.values()):
        return [f"{front} ends with {code}: {said[front]}" for front, code in codes.items() if code]
    command, metaflow = _rows(said["command"]), _rows(said["metaflow"])
    session = json.loads(said["session"].splitlines()[-1])
    right = {"store": configuration.store, **configuration.values}
    found = [f"{name} is {command[name]!r}, not {value!r}" for name, value in right.items() if command[name] != value]
    for name, value in command.items():
        if not metaflow[name] == session[name] == value:
            found.append(f"{name}: command {value!r}, metaflow {metaflow[name]!r}, session {session[name]!r}")
    names = json.loads(next(line for line in said["metaflow"].splitlines() if line.startswith("{")))
    datastore = {"local": "LOCAL", "s3": "S3", "azure": "AZURE", "gs": "GS"}[command["datastore"]]
    root = names[f"CONDA_{datastore}ROOT"]
    if root is not None and not any(n.startswith("ASYNCCACHE_STORE") for n in configuration.variables):
        own = "store = " in str(configuration.files)
        if not own and command["store"].removeprefix("az://") != root.removeprefix("az://"):
            found.append(f"metaflow_config says {root}, asynccache {command['store']}")
    for key in configuration.bare:
        if key not in names["CONDA_BARE_KEYS"] or key not in said["command"]:
            found.append(f"the bare key {key} is not told of")
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_fronts_make_the_same_of_each_configuration(answers: list[Answers]) -> None:
    assert len(CONFIGURATIONS) >= 40
    pairs = zip(CHOSEN, answers, strict=True)
    wrong = {each.name: found for each, answer in pairs if (found := _wrong(each, answer))}
    assert not wrong, json.dumps(wrong, indent=1)
