"""The harness: who runs when, in which directory, and what is kept of it. Nothing here depends on how long it takes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.bed import Bed
from bench.harness import Contender, ContenderError, Sample, Series, ratio, run_process, worker
from tests.support.waiting import alive, until


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def bed(scratch: Path, rounds: int) -> Bed:
    return Bed(scratch, rounds=rounds, quick=True, say=lambda _text: None)


def series(name: str, *cpu: float, **said: float) -> Series:
    return Series(name, tuple(Sample(2 * seconds, seconds, 1000, said) for seconds in cpu))


def test_rounds_are_interleaved_so_that_noise_meets_all_contenders(tmp_path: Path) -> None:
    log = tmp_path / "log"
    contenders = [
        Contender(name, python(f"open({str(log)!r}, 'a').write({name!r})")) for name in ("ours", "peer", "third")
    ]
    found = bed(tmp_path, 3).measure(*contenders)
    assert log.read_text() == "ourspeerthird" * 3
    assert [(one.name, len(one.samples)) for one in found] == [("ours", 3), ("peer", 3), ("third", 3)]


def test_each_run_gets_an_empty_directory_that_is_gone_afterwards(tmp_path: Path) -> None:
    seen: list[Path] = []

    def prepare(directory: Path) -> None:
        assert not list(directory.iterdir())
        (directory / "prepared").touch()
        seen.append(directory)

    code = "import pathlib, sys; assert sys.argv[2] == pathlib.Path(sys.argv[1], 'prepared').parent.name"
    bed(tmp_path, 2).measure(Contender("one", [*python(code), "{scratch}", "{run}"], prepare=prepare))
    assert len(set(seen)) == 2
    assert not list(tmp_path.iterdir())


def test_processor_time_of_children_counts(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {burn!r}], check=True)"
    sample = run_process(python(code), tmp_path)
    assert sample.cpu >= 0.3


def test_a_worker_s_own_figures_are_kept(tmp_path: Path) -> None:
    code = "import json, os; json.dump({'work_wall': 1.5}, open(os.environ['ASYNCCACHE_BENCH_RESULT'], 'w'))"
    sample = run_process(python(code), tmp_path)
    assert sample.value("work_wall") == 1.5
    assert sample.value("wall") == sample.wall
    assert sample.value("never said") is None


def test_what_a_run_adds_to_a_counter_becomes_its_figure(tmp_path: Path) -> None:
    counter: Iterator[float] = iter([5.0, 7.0, 7.0, 10.5])
    (found,) = bed(tmp_path, 2).measure(Contender("one", python("")), meter=lambda: {"server": next(counter)})
    assert found.values("server") == [2.0, 3.5]


def test_a_contender_that_fails_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"with code 3: .*no such thing"):
        run_process(python("import sys; print('no such thing', file=sys.stderr); sys.exit(3)"), tmp_path)


def test_a_contender_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    started = tmp_path / "started"
    child = "import time; time.sleep(3600)"
    code = (
        "import os, pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {child!r}])\n"
        f"pathlib.Path({str(started)!r}).write_text(str(child.pid))\n"
        "time.sleep(3600)"
    )
    with pytest.raises(ContenderError, match="its limit of 2 seconds"):
        run_process(python(code), tmp_path, limit=2)
    until(lambda: not alive(int(started.read_text())))


def test_the_memory_of_children_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    # both hold it until the other does, and then for as long as it takes to look at them many times
    hold = (
        "import sys, time; held = bytearray(150 << 20); held[::4096] = b'1' * len(held[::4096])\n"
        "print(flush=True); sys.stdin.read(); time.sleep(0.7)"
    )
    code = (
        "import subprocess, sys\n"
        f"words, pipe = [sys.executable, '-S', '-c', {hold!r}], subprocess.PIPE\n"
        "children = [subprocess.Popen(words, stdin=pipe, stdout=pipe) for _ in range(2)]\n"
        "[child.stdout.readline() for child in children]\n"
        "[child.stdin.close() for child in children]\n"
        "[child.wait() for child in children]"
    )
    sample = run_process(python(code), tmp_path, together=True)
    assert sample.peak > 300 << 20


def test_a_ratio_is_that_of_the_medians_with_the_extremes_of_the_rounds() -> None:
    found = ratio(series("peer", 4.0, 6.0, 9.0), series("ours", 2.0, 2.0, 1.0), "cpu")
    assert (found.value, found.least, found.most) == (3.0, 2.0, 9.0)


def test_the_arguments_of_a_worker_name_its_run(tmp_path: Path) -> None:
    *command, arguments = worker("tools.nothing", store="s3://b/{run}", cache_dir="{scratch}/node")
    assert command == [sys.executable, "-m", "bench.worker", "tools.nothing"]
    runs: list[Path] = []
    seen = tmp_path / "seen"
    code = f"import sys; open({str(seen)!r}, 'w').write(sys.argv[1])"
    Contender("one", [*python(code), arguments], prepare=runs.append).run(tmp_path)
    assert json.loads(seen.read_text()) == {"store": f"s3://b/{runs[0].name}", "cache_dir": f"{runs[0]}/node"}


def test_settings_of_the_user_do_not_reach_a_contender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCCACHE_IN_FLIGHT", "1")
    monkeypatch.setenv("METAFLOW_CONDA_S3ROOT", "s3://mine")
    code = (
        "import json, os\n"
        "names = [n for n in os.environ if n in ('ASYNCCACHE_IN_FLIGHT', 'METAFLOW_CONDA_S3ROOT')]\n"
        "json.dump({'found': len(names)}, open(os.environ['ASYNCCACHE_BENCH_RESULT'], 'w'))"
    )
    assert run_process(python(code), tmp_path).value("found") == 0
