"""What each command prints with `--json` is as the schema that ships says, and its last line is the result."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache_cli.main import run as run_blocking
from tests.cli.resolving import Commands, serve
from tests.docs.json_contract import COMMANDS
from tests.support.json_output import check_json, check_line, command_of
from tests.support.tiny_channel import write_tiny_channel

ARCH = "linux-64"
# in this order: an environment is made, used and removed
LINES = [
    f"resolve environment.yml --python 3.11.* --arch {ARCH} --alias team/tiny:v1 --alias team/tiny:latest",
    f"resolve environment.yml --python 3.11.* --arch {ARCH} --force --dry-run",
    "env ls",
    f"env show team/tiny:v1 --arch {ARCH}",
    f"env export team/tiny:v1 --arch {ARCH}",
    f"env export team/tiny:v1 --arch {ARCH} -o list.txt",
    f"env import list.txt --arch {ARCH} --alias team/tiny:latest",
    f"env diff team/tiny:v1 team/tiny:latest --arch {ARCH}",
    "env history team/tiny:latest",
    "env rollback team/tiny:latest",
    "env alias team/tiny:v1 team/tiny:v2",
    f"env get team/tiny:v1 --arch {ARCH}",
    "cache --from list.txt --format .conda",
    "backfill --to .conda --dry-run",
    "backfill --to .conda --allow-empty --report report.json",
    "backfill --to .conda --merge 1",
    "ls",
    "stat",
    f"pack team/tiny:v1 --arch {ARCH}",
    f"warm --env team/tiny:v1 --arch {ARCH}",
    f"create team/tiny:v1 --arch {ARCH} --prefix made",
    "envs",
    "rm ./made",
    "clean --keep-bytes 0 --dry-run",
    "clean --store --dry-run",
    "verify",
    "audit",
    "gc",
    "gc --dry-run",
    f"gc --leases --add app --env team/tiny:v1 --arch {ARCH}",
    "gc --leases",
    "report -o report.html",
    "replicate --from st --to st-copy",
    "transmute one-1-0.tar.bz2 --to .conda",
    "installer zstd zstandard-0.23.0-cp310-cp310-manylinux_2_17_x86_64.whl",
    "plan verify",
    "floor",
    "config",
    "doctor",
    "bench --list",
]
# command -> where it is shown running, since it takes long
ELSEWHERE = {"installer publish": "tests/boot"}


def test_every_command_prints_what_its_schema_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert {*COMMANDS} - {*ELSEWHERE} == {command_of(shlex.split(line)) for line in LINES}
    channel = write_tiny_channel(tmp_path / "channel")
    (tmp_path / "environment.yml").write_text("dependencies:\n  - app\n")
    (tmp_path / "zstandard-0.23.0-cp310-cp310-manylinux_2_17_x86_64.whl").write_bytes(b"wheel")
    archive = next(path for path in sorted(channel.rglob("*")) if path.name.endswith(".tar.bz2"))
    (tmp_path / "one-1-0.tar.bz2").write_bytes(archive.read_bytes())
    with serve(channel) as address:
        for name, value in Commands(tmp_path, address).environment(ASYNCCACHE_STORE=str(tmp_path / "st")).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        for line in LINES:
            words = [*shlex.split(line), "--json"]
            code = run_blocking(words)
            printed = capfd.readouterr()
            assert code == 0, (line, printed)
            check_json(words, code, printed.out, printed.err)


WHOLE = {"type": "item", "schema": 1, "subject": "disk", "level": "ok", "text": "", "advice": "", "later": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.pop("subject"),
        lambda line: line.update(schema=2),
        lambda line: line.update(level="odd"),
        lambda line: line.update(later=1.8e9),
        lambda line: line.update(type="result"),
    ],
)
def test_a_line_that_is_not_as_the_schema_says_is_found(change: Callable[[dict[str, object]], object]) -> None:
    check_line("doctor.json", WHOLE)
    wrong = dict(WHOLE)
    change(wrong)
    with pytest.raises(AssertionError):
        check_line("doctor.json", wrong)


def test_a_moment_without_zone_is_found() -> None:
    line = {"type": "item", "schema": 1, "kind": "conda", "format": ".conda", "transmuted": False, "hash": "0"}
    line |= {"package": "a-1-0", "url": "https://h/a", "key": "k", "bytes": 1, "modified": "2026-01-31T12:00:00+00:00"}
    check_line("ls.json", line)
    with pytest.raises(AssertionError, match="date-time"):
        check_line("ls.json", {**line, "modified": "2026-01-31T12:00:00"})
