"""Lock files of other programs are honoured, dead ones of this program are not."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import LockTimeoutError
from asynccache.node.lock_file import lock_file
from tests.support.file_locks import without_file_locks


def _dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_lock_file_names_its_holder_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_file(str(path), 1.0):
        assert path.read_text() == f"{socket.gethostname()} {os.getpid()}\n"
        with pytest.raises(LockTimeoutError, match="held by another program"), lock_file(str(path), 0.05):
            pass
    assert not path.exists()


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize(
    "text",
    ["", "{other} 1\n", "{host} {living}\n", "{host}\n", "{host} x\n", "{host} 99999999999999999999\n", "\xe9 1\n"],
)
def test_what_nobody_can_prove_to_be_dead_is_waited_for(
    text: str, locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks:
        without_file_locks(monkeypatch)
    path = tmp_path / "lock"
    host = socket.gethostname()
    path.write_text(text.format(host=host, other=f"not-{host}", living=os.getpid()), encoding="latin-1")
    with pytest.raises(LockTimeoutError, match="remove the file when no such program runs"), lock_file(str(path), 0.05):
        pass
    assert path.exists()


@pytest.mark.parametrize("locks", [True, False])
def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(
    locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks:
        without_file_locks(monkeypatch)
    path = tmp_path / "lock"
    path.write_text(f"{socket.gethostname()} {_dead_process()}\n")
    with lock_file(str(path), 1.0):
        assert path.read_text() == f"{socket.gethostname()} {os.getpid()}\n"
    assert not path.exists()


def test_who_waits_is_told_for_how_long(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    said = list[float]()
    with pytest.raises(LockTimeoutError), lock_file(str(path), 1.2, said.append):
        pass
    assert len(said) == 1
