"""What a person types, what it prints, and how it ends."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.command_line import ASYNCCACHE, run_command
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in
from tests.support.waiting import until

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str | Path, stdin: str | None = None, **environ: str) -> Result:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
        variables = {**clean, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg"), **environ}
        return run_command(arguments, cwd=tmp_path, env=variables, stdin=stdin)

    return call


def _urls(channel: SyntheticChannel, url: str, count: int = 4) -> list[str]:
    return [f"{p.url}#sha256={p.digests.sha256}" for p in channel.packages(url, count)]


def test_packages_are_cached_and_the_summary_says_so(
    channel: SyntheticChannel, url: str, run: Run, tmp_path: Path
) -> None:
    result = run("cache", *_urls(channel, url), "--format", ".conda", "--store", "st")
    assert result.returncode == 0, result.stderr
    assert f"4 of 4 packages in {tmp_path / 'st'} (0 were there already)" in result.stdout
    assert len(archives_in(tmp_path / "st")) == 4
    again = run("cache", *_urls(channel, url), "--format", ".conda", "--store", "st")
    assert "(4 were there already)" in again.stdout


def test_without_a_root_the_store_of_your_own_is_used(
    channel: SyntheticChannel, url: str, run: Run, tmp_path: Path
) -> None:
    assert run("cache", *_urls(channel, url)).returncode == 0
    assert len(archives_in(tmp_path / "xdg/asynccache/store")) == 4
    assert "4 archives" in run("stat").stdout


def test_a_list_comes_from_a_file_or_from_standard_input(
    channel: SyntheticChannel, url: str, run: Run, tmp_path: Path
) -> None:
    text = "@EXPLICIT\n" + "\n".join(f"{p.url}#{p.digests.md5}" for p in channel.packages(url, 3))
    (tmp_path / "list.txt").write_text(text)
    assert "3 of 3" in run("cache", "--from", "list.txt", "--store", "a").stdout
    assert "3 of 3" in run("cache", "--from", "-", "--store", "b", stdin=text).stdout


def test_json_is_a_line_an_event_and_the_receipt_last(channel: SyntheticChannel, url: str, run: Run) -> None:
    result = run("cache", *_urls(channel, url), "--format", ".conda", "--json", "--store", "st")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    *events, receipt = documents
    assert {d["type"] for d in events} == {"event"}
    assert {"RunStarted", "Fetched", "Transmuted", "Uploaded", "PackageDone"} <= {d["event"] for d in events}
    assert (receipt["type"], receipt["schema"]) == ("result", 1)
    assert (receipt["packages"], receipt["complete"], receipt["failed"]) == (4, 4, 0)
    assert result.stderr == ""


def test_every_printing_command_takes_json(channel: SyntheticChannel, url: str, run: Run, tmp_path: Path) -> None:
    run("cache", *_urls(channel, url), "--store", "st")
    (tmp_path / "a-1-0.tar.bz2").write_bytes(channel.paths[0].read_bytes())
    for words in (
        ["ls", "--store", "st"],
        ["stat", "--store", "st"],
        ["verify", "--store", "st"],
        ["audit", "--store", "st"],
        ["backfill", "--to", ".conda", "--dry-run", "--store", "st"],
        ["backfill", "--to", ".conda", "--store", "st"],
        ["transmute", "a-1-0.tar.bz2", "--to", ".conda"],
        ["config"],
        ["doctor", "--store", "st"],
    ):
        result = run(*words, "--json")
        assert result.returncode == 0, (words, result.stderr)
        assert [json.loads(line) for line in result.stdout.splitlines()], words


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["cache"], 2, "nothing to cache"),
        (["cache", "numpy"], 2, "'numpy' is not a package URL: expected http://, https:// or file://"),
        (["cache", "https://h/noarch/numpy.conda"], 2, "expected NAME-VERSION-BUILD"),
        (["cache", "--from", "nowhere.txt"], 9, "nowhere.txt cannot be read"),
        (["cache", "http://127.0.0.1:9/n/a-1-0.conda"], 4, "could not be fetched in 2 tries"),
        (["cache", "file:///nowhere/a-1-0.conda"], 17, "/nowhere/a-1-0.conda cannot be read"),
        (["ls", "--store", "az://container"], 3, "nothing says which account of Azure holds az://container"),
        (["ls", "--store", "ftp://bucket"], 3, "expected a path"),
        (["transmute", "nowhere-1-0.conda", "--to", ".tar.bz2"], 9, "nowhere-1-0.conda does not exist"),
        (["transmute", "a.whl", "--to", ".conda"], 9, "a.whl does not exist"),
        (["transmute", sys.executable, "--to", ".conda"], 2, "is not a package file name"),
        (["verify", "--sample", "0"], 2, "--sample is wrong"),
        (["verify", "--sample", "abc"], 2, "--sample is wrong: expected a share such as 5% or 0.05, found 'abc'"),
        (["verify", "--sample", "200%"], 2, "--sample is wrong"),
        (["verify", "--sample", "nan"], 2, "--sample is wrong"),
        (["backfill", "--to", ".conda", "--shard", "1"], 2, "--shard is wrong: expected I/N"),
        (["backfill", "--to", ".conda", "--shard", "3/2"], 2, "--shard is wrong"),
        (["--config-file", "nowhere.toml", "config"], 3, "does not exist"),
        (["chache"], 2, "Did you mean `cache`?"),
        (["cache", "--fromm", "x"], 2, "No such option"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_a_mistake_gets_one_sentence_and_its_exit_code(run: Run, words: list[str], code: int, message: str) -> None:
    result = run(*words, ASYNCCACHE_ATTEMPTS="2", ASYNCCACHE_RETRY_CAP="0.01")
    assert message in result.stderr
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_the_traceback_is_there_for_those_who_ask(run: Run) -> None:
    assert "Traceback" in run("--debug", "cache").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cache", "numpy", "--json"], "'numpy' is not a package URL"),
        (["ls", "--json", "--no-such-option"], "No such option"),
        (["env", "show", "--json"], "Missing argument"),
        (["clean", "--json", "--keep-bytes", "much"], "'much' is no amount of bytes"),
        (["bench", "--rounds", "0", "--json"], "0 is not in the range"),
        (["env", "shwo", "--json"], "Did you mean `show`?"),
        (["--config-file", "run", "cash", "--json"], "There is no command `cash`"),
    ],
)
def test_a_mistake_is_json_where_json_was_asked_for(run: Run, words: list[str], message: str) -> None:
    result = run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    (error,) = map(json.loads, result.stderr.splitlines())
    assert (error["type"], error["schema"], error["error"], error["exit_code"]) == ("error", 1, "UsageError", 2)
    assert message in error["message"]


@pytest.mark.parametrize("words", [["run", "--json"], ["run", "e", "x", "--json"], ["shell", "e", "--json"]])
def test_run_and_shell_have_no_json(run: Run, words: list[str]) -> None:
    result = run(*words, ASYNCCACHE_STORE="st")
    assert result.returncode in {2, 9}
    assert "rror: " in result.stderr
    assert '"type"' not in result.stderr


def test_failures_are_grouped_by_their_cause(channel: SyntheticChannel, url: str, run: Run, tmp_path: Path) -> None:
    missing = [f"{url}/linux-64/no-{n}-0.conda" for n in range(3)]
    result = run("cache", *missing, *_urls(channel, url, 2), "--store", "st")
    assert result.returncode == 17
    assert "3 of 5 packages failed, the others are complete; run the same command again" in result.stderr
    assert f"2 of 5 packages in {tmp_path / 'st'}" in result.stderr


def test_no_secret_is_printed(run: Run) -> None:
    url = "http://user:s3cret@127.0.0.1:9/t/t0ken/noarch/a-1-0.conda?sig=s1gnature"
    for words in (["cache", url], ["cache", url, "--json"], ["--debug", "cache", url]):
        result = run(*words, ASYNCCACHE_ATTEMPTS="2", ASYNCCACHE_RETRY_CAP="0.01")
        assert result.returncode != 0
        assert not re.search("s3cret|s1gnature", result.stdout + result.stderr)
    config = run("config", METAFLOW_CONDA_SRCS_AUTH_INFO='{"h": ["u", "s3cret"]}')
    assert "(set, not shown)" in config.stdout
    assert "s3cret" not in config.stdout


@pytest.mark.long
def test_progress_is_plain_lines_where_there_is_no_terminal(
    channel: SyntheticChannel, run: Run, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.fault_server",
        str(channel.root),
        "--ttl",
        "60",
        "--bandwidth",
        "150000",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        served = process.stdout.readline().strip()
        result = run(
            "cache",
            f"{served}/linux-64/{channel.paths[-2].name}",
            f"{served}/linux-64/{channel.paths[-1].name}",
            "--store",
            "st",
        )
        process.kill()
    assert result.returncode == 0
    assert re.search(r"^\d/2 packages; fetch \d", result.stderr, re.MULTILINE)
    assert "\x1b" not in result.stderr


def test_help_teaches(run: Run) -> None:
    result = run("--help")
    assert "Exit codes:" in result.stdout
    for command in ("cache", "transmute", "backfill", "ls", "stat", "verify", "config", "doctor"):
        assert "Examples:" in (text := run(command, "--help").stdout) or command in {"stat", "config", "doctor"}, text


def test_ls_lists_what_matches_and_marks_what_was_transmuted(channel: SyntheticChannel, url: str, run: Run) -> None:
    run("cache", *_urls(channel, url), "--format", ".conda", "--store", "st")
    lines = run("ls", "synthetic-0000*", "--store", "st").stdout.splitlines()
    assert len(lines) == 1
    assert re.search(r"  t  synthetic-0000-1\.0-h0_0\.conda$", lines[0])


def test_verify_ends_with_five_when_something_is_damaged(
    channel: SyntheticChannel, url: str, run: Run, tmp_path: Path
) -> None:
    run("cache", *_urls(channel, url), "--store", "st")
    victim = archives_in(tmp_path / "st")[0]
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    result = run("verify", "--store", "st")
    assert result.returncode == 5
    assert "has the wrong md5: expected" in result.stdout
    assert "--quarantine" in result.stderr
    assert run("verify", "--store", "st", "--quarantine").returncode == 5
    assert run("verify", "--store", "st").returncode == 0
    assert run("cache", *_urls(channel, url), "--store", "st").returncode == 0
    assert len(archives_in(tmp_path / "st")) == 4


def test_transmute_makes_the_other_form_beside_or_where_asked(
    channel: SyntheticChannel, run: Run, tmp_path: Path
) -> None:
    source = tmp_path / channel.paths[0].name
    source.write_bytes(channel.paths[0].read_bytes())
    assert run("transmute", source, "--to", ".conda").returncode == 0
    derived = tmp_path / source.name.replace(".tar.bz2", ".conda")
    assert derived.exists()
    assert run("transmute", derived, "--to", ".tar.bz2", "--out", "back").returncode == 0
    assert (tmp_path / "back" / source.name).exists()
    broken = tmp_path / "broken-1-0.tar.bz2"
    broken.write_bytes(source.read_bytes()[:-30])
    result = run("transmute", source, broken, "--to", ".conda", "--out", "some")
    assert result.returncode == 5
    assert [p.name for p in (tmp_path / "some").iterdir()] == [derived.name]


def test_transmute_takes_a_list_of_files_from_standard_input(
    channel: SyntheticChannel, run: Run, tmp_path: Path
) -> None:
    first, second, third = [path for path in channel.paths if path.suffix == ".bz2"][:3]
    result = run("transmute", first, "-", "--to", ".conda", "--out", "some", stdin=f"{second}\n\n{third}\n")
    assert result.returncode == 0, result.stderr
    made = sorted(p.name for p in (tmp_path / "some").iterdir())
    assert made == sorted(p.name.replace(".tar.bz2", ".conda") for p in (first, second, third))
    assert "list on standard input is empty" in run("transmute", "-", "--to", ".conda", stdin="\n").stderr


def test_doctor_says_what_to_do_when_the_store_cannot_be_reached(run: Run) -> None:
    result = run(
        "doctor", "--store", "s3://bucket/x", "--s3-endpoint-url", "http://127.0.0.1:9",
        ASYNCCACHE_ATTEMPTS="1", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1",
    )  # fmt: skip
    assert result.returncode == 6
    assert "FAIL  store" in result.stdout
    assert "->" in result.stdout


def _some_bytes_are_there(node: Path) -> bool:
    return any(p.name.endswith(".part") for p in node.rglob("*"))


def test_interrupted_it_says_how_to_go_on(channel: SyntheticChannel, tmp_path: Path) -> None:
    import signal

    command = [
        sys.executable,
        "-m",
        "tests.support.fault_server",
        str(channel.root),
        "--ttl",
        "60",
        "--bandwidth",
        "50000",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as server:
        assert server.stdout is not None
        served = server.stdout.readline().strip()
        words = [ASYNCCACHE, "cache", f"{served}/linux-64/{channel.paths[-1].name}", "--store", str(tmp_path / "st")]
        words += ["--cache-dir", str(tmp_path / "node")]
        # a run in the background would inherit that interrupts are ignored
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:  # noqa: PLW1509
            until(lambda: _some_bytes_are_there(tmp_path / "node"))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate()
        server.kill()
    assert process.returncode == 130
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert archives_in(tmp_path / "st") == []
    assert _some_bytes_are_there(tmp_path / "node")


def test_a_store_without_packages_is_listed_as_empty_and_not_taken_for_a_store_that_is_whole(
    run: Run, tmp_path: Path
) -> None:
    """The default store that was never written, and a directory that holds something else."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    for store in ([], ["--store", "other"]):
        for words in (["ls"], ["stat"], ["env", "ls"]):
            result = run(*words, *store)
            assert result.returncode == 0, result.stderr
            assert "it is empty" in result.stderr or "0 environments" in result.stderr
        for words in (["verify"], ["backfill", "--to", ".conda"], ["backfill", "--to", ".conda", "--dry-run"]):
            refused = run(*words, *store)
            assert refused.returncode == 9, (words, refused.stderr)
            assert "--allow-empty if an empty store is expected" in refused.stderr
            assert run(*words, *store, "--allow-empty").returncode == 0
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["file"]


def test_a_pattern_or_a_sample_that_takes_nothing_is_not_success(channel: SyntheticChannel, url: str, run: Run) -> None:
    run("cache", *_urls(channel, url, 2), "--store", "st")
    for words, sentence in (
        (["verify", "--match", "nump*"], "no archive matches 'nump*' in"),
        (["verify", "--sample", "0.0001%"], "the sample has none of the 2 archives"),
        (["backfill", "--to", ".conda", "--match", "nump*"], "has no conda package that matches"),
    ):
        result = run(*words, "--store", "st")
        assert result.returncode == 9, (words, result.stderr)
        assert sentence in result.stderr
    assert "no packages that match 'nump*'" in run("ls", "nump*", "--store", "st").stderr


def test_a_reader_that_stops_ends_a_listing_without_a_word(
    channel: SyntheticChannel, url: str, run: Run, tmp_path: Path
) -> None:
    run("cache", *_urls(channel, url), "--store", "st")
    for words in ("ls", "ls --json", "env ls", "config", "config --json"):
        command = f"{ASYNCCACHE} {words} | head -n 0; exit ${{PIPESTATUS[0]}}"
        result = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg")},
        )  # fmt: skip
        assert result.returncode in {0, 141}, (words, result.stderr)
        assert "Traceback" not in result.stderr
