"""A few of the kills that `make test-kills` does, and what it is that they would notice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kills.killed_commands import _broken, _listing
from tests.support.effort import tries

KILLS = tries(4, 100)


@pytest.mark.timeout(280)
@pytest.mark.parametrize("command", ["warm", "pack"])
def test_a_command_killed_at_any_moment_leaves_nothing_wrong_and_is_done_by_the_next_one(
    tmp_path: Path, command: str
) -> None:
    words = [sys.executable, "-m", "tests.kills.killed_commands", command, str(tmp_path / "kills"), str(KILLS), "3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=270)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["wrong"] == []
    assert result["hit"] == KILLS


def test_what_must_not_be_is_noticed(tmp_path: Path) -> None:
    begun, place = tmp_path / "begun", tmp_path / "place"
    key = "packages/conda/host/x.conda/900150983cd24fb0d6963f7d28e17f72/x.conda"  # md5 of abc
    for root in (begun, place):
        path = root / "store" / key
        path.parent.mkdir(parents=True)
        path.write_bytes(b"abc")
    assert _broken(place, begun, _listing(place)) == []
    (place / "store" / key).write_bytes(b"abd")
    assert "not what its key says" in str(_broken(place, begun, []))
    assert "none of the reference" in str(_broken(place, begun, []))
    (place / "store" / key).unlink()
    assert "was lost" in str(_broken(place, begun, []))
    document = place / "store" / "envs" / "a" / "env"
    document.parent.mkdir(parents=True)
    document.write_bytes(b"")
    assert "is no document" in str(_broken(place, begun, []))
