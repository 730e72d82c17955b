"""However a command ends: one sentence, the documented exit code, no traceback, nothing half made."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache_cli.main import run as run_blocking
from tests.support.command_line import items_of
from tests.support.json_output import check_line

Run = Callable[..., subprocess.CompletedProcess[str]]
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
PROGRAM = "from asynccache_cli.main import main; main()"
# a command that raises what its arguments say, in the place of one that exists
RAISING = """
import sys
import asynccache.config
from asynccache.errors import IntegrityError
def load_settings(*_args, **_settings):
    raise {raised}
asynccache.config.load_settings = load_settings
from asynccache_cli.main import main
main()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command line as a process with a home of its own; a shell's words around it when `shell` is given."""

    def do(*words: str, program: str = PROGRAM, shell: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "XDG_"))}
        (tmp_path / "tmp").mkdir(exist_ok=True)
        environ |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), **more}
        # whoever runs the tests in the background may have them ignore interrupts
        argv = [sys.executable, "-c", INTERRUPTIBLE + program, *words]
        if shell:
            argv = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *argv]
        return subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)

    return do


@pytest.mark.parametrize("words", [("config",), ("config", "--json"), ("--help",)])
def test_whoever_stops_reading_is_not_told(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, shell="| head -c 1 >/dev/null; exit $?")
    assert result.returncode in {0, 141}
    assert result.stderr == ""


def test_a_broken_pipe_has_the_code_of_the_signal(run: Run) -> None:
    # `true` has ended before the first word is written
    result = run("config", shell="| (exec <&-; sleep 0.1)")
    assert result.returncode == 141
    assert result.stderr == ""


@pytest.mark.parametrize("words", [("config",), ("config", "--json"), ("--help",)])
def test_a_full_output_is_one_sentence(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, shell=">/dev/full")
    assert result.returncode == 8
    assert result.stderr.count("\n") == 1
    assert "the output cannot be written (No space left on device)" in result.stderr


def test_streams_that_are_closed_from_the_start_are_no_failure(run: Run) -> None:
    assert run("config", "--json", shell=">&-").returncode == 0
    assert run("config", shell=">&- 2>&- <&-").returncode == 0
    assert run("nothing-like-this", shell="2>&-").returncode == 2
    assert run("nothing-like-this", shell="2>/dev/full").returncode == 2


def test_a_current_directory_that_is_gone_is_named_where_it_is_needed(run: Run, tmp_path: Path) -> None:
    gone = f'mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; "$@"'
    assert run("ls", shell=f"; {gone}").returncode == 0
    result = run("ls", "--store", "relative", shell=f">/dev/null 2>&1; {gone}")
    assert result.returncode == 2
    assert "the current directory does not exist any more" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
@pytest.mark.parametrize("imported", ["click", "asynccache_cli.listing"])
def test_a_signal_during_imports_ends_with_its_code(
    run: Run, tmp_path: Path, number: int, said: str, imported: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Signals:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {imported!r}:\n"
        f"            os.kill(os.getpid(), {number})\n"
        "sys.meta_path.insert(0, Signals())\n"
    )
    result = run("ls", PYTHONPATH=str(tmp_path))
    assert result.returncode == 128 + number
    assert result.stderr == f"{said}: what is complete stays; run the same command again to continue\n"
    assert result.stdout == ""


WAITING = """
import asyncio, os, sys
import asynccache.api
class Waiting:
    def __init__(self, *_settings, **_sinks):
        pass
    async def __aenter__(self):
        return self
    async def __aexit__(self, *_error):
        pass
    async def stat(self):
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), {number})
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            print("tidied up", flush=True)
asynccache.api.Session = Waiting
from asynccache_cli.main import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_work_ends_in_order(run: Run, number: int) -> None:
    result = run("stat", program=WAITING.format(number=number))
    assert result.returncode == 128 + number
    assert result.stdout == "tidied up\n"
    assert "what is complete stays" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_ignored_interrupt_stays_ignored_and_a_termination_ends_all_the_same(run: Run) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    program = ignoring + WAITING.format(number=signal.SIGTERM)
    result = run("stat", program=program)
    assert result.returncode == 143
    assert result.stdout == "tidied up\n"


def test_a_defect_is_reported_and_shown_as_a_traceback_only_to_those_who_ask(run: Run, tmp_path: Path) -> None:
    program = RAISING.format(raised='ExceptionGroup("", [ExceptionGroup("", [KeyError("https://me:pw@h/x")])])')
    result = run("ls", program=program)
    assert result.returncode == 70
    assert result.stderr.count("\n") == 1
    assert "this is a defect of asynccache (KeyError" in result.stderr
    (report,) = (tmp_path / "tmp").glob("asynccache-defect-*.txt")
    assert str(report) in result.stderr
    assert "load_settings" in report.read_text("utf-8")
    assert "pw" not in report.read_text("utf-8")

    result = run("--debug", "ls", program=program)
    assert result.returncode == 70
    assert "Traceback (most recent call last)" in result.stderr
    assert "pw@" not in result.stderr

    document = json.loads(run("ls", "--json", program=program).stderr)
    assert (document["error"], document["cause"], document["retryable"]) == ("DefectError", "defect", False)
    assert Path(document["report"]).is_file()


def test_an_interrupt_is_json_where_json_was_asked_for(run: Run) -> None:
    result = run("ls", "--json", program=RAISING.format(raised="KeyboardInterrupt()"))
    assert result.returncode == 130
    document = json.loads(result.stderr)
    check_line("error.json", document)
    assert (document["cause"], document["exit_code"], document["retryable"]) == ("interrupted", 130, True)


def test_debug_keeps_the_exit_code_and_a_word_of_another_command_is_not_ours(run: Run) -> None:
    result = run("--debug", "cache", "numpy")
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert "error: 'numpy' is not a package URL" in result.stderr
    assert "Traceback" not in run("run", "no/such:v1", "--", "x", "--debug", "--json").stderr


def test_several_causes_are_a_sentence_each(run: Run) -> None:
    program = RAISING.format(
        raised='ExceptionGroup("", [IntegrityError("one"), IntegrityError("two"), IntegrityError("one")])'
    )
    result = run("ls", program=program)
    assert result.returncode == 5
    assert result.stderr.count("failed: ") == 2
    assert "Traceback" not in result.stderr


NOBODY = "import os; os.environ.pop('HOME', None); os.getuid = lambda: 1234567\n" + PROGRAM


def test_a_user_that_nobody_knows_goes_on_with_what_is_set(run: Run, tmp_path: Path) -> None:
    set_ = {"ASYNCCACHE_CACHE_DIR": str(tmp_path / "cache"), "LOGNAME": "", "USER": "", "USERNAME": ""}
    for words in (("ls",), ("stat",), ("config",), ("env", "ls"), ("envs",), ("doctor",)):
        result = run(*words, program=NOBODY, **set_)
        assert result.returncode == 0, (words, result.stderr)


def test_a_user_without_home_is_told_what_to_set(run: Run, tmp_path: Path) -> None:
    result = run("ls", program=NOBODY)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert "set ASYNCCACHE_CACHE_DIR, XDG_CACHE_HOME or HOME" in result.stderr
    result = run("ls", program=NOBODY, ASYNCCACHE_CACHE_DIR="~/cache")
    assert result.returncode == 3
    assert "this user has no home directory" in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


UNREACHABLE = {
    "ASYNCCACHE_STORE": "s3://bucket/root",
    "ASYNCCACHE_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "ASYNCCACHE_ATTEMPTS": "1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}


def test_every_command_says_in_a_sentence_that_the_store_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # in this process, since a client of S3 takes a while to import
    listed = tmp_path / "list.txt"
    listed.write_text(f"@EXPLICIT\nfile://{tmp_path}/linux-64/a-1-0.conda#{'0' * 32}\n")
    environment = f"{'a' * 40}:{'b' * 40}"
    for name, value in {**UNREACHABLE, "ASYNCCACHE_CACHE_DIR": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    for words in (
        ["ls"],
        ["stat"],
        ["verify"],
        ["cache", "--from", str(listed)],
        ["backfill", "--to", ".conda"],
        ["backfill", "--to", ".conda", "--dry-run"],
        ["env", "ls"],
        ["env", "show", environment],
        ["env", "alias", environment, "team/env:v1"],
        ["env", "history", "team/env:latest"],
        ["env", "rollback", "team/env:latest"],
        ["env", "import", str(listed)],
        ["env", "export", environment, "--format", "explicit"],
        ["warm", "--env", environment],
        ["create", environment],
        ["pack", environment],
    ):
        assert run_blocking(words) == 6, words
        said = capfd.readouterr().err
        assert "127.0.0.1:9 did not answer a request for" in said.splitlines()[-1], words
        assert "Traceback" not in said
        assert run_blocking([*words, "--json"]) == 6, words
        document = json.loads(capfd.readouterr().err.splitlines()[-1])
        assert (document["cause"], document["retryable"]) == ("store", True), words
    assert run_blocking(["doctor", "--json"]) == 6
    findings = items_of(capfd.readouterr().out)
    assert [finding["subject"] for finding in findings if finding["level"] == "failure"] == ["store"]
