"""The manifest on this machine: shared, never lost, kept when it is damaged."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from asynccache.catalog.local import LocalManifest, Manifest
from asynccache.errors import IntegrityError, LockTimeoutError
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from tests.catalog.manifests import reading
from tests.support.file_locks import site_without_file_locks, without_file_locks

ADD = """
import sys
from pathlib import Path
from asynccache.catalog.local import LocalManifest
from asynccache.model.alias import Alias
manifest = LocalManifest(Path(sys.argv[1]))
for number in range(5):
    ids = (f"{int(sys.argv[2]):040x}", f"{number:040x}")
    manifest.update(lambda m: m.assign(Alias("generic", f"env{sys.argv[2]}/v{number}"), ids))
"""


def environment(number: int, arch: str = "linux-64") -> ResolvedEnvironment:
    env_id = EnvID(f"{number:040x}", f"{number + 1:040x}", arch)
    package = EnvironmentPackage("conda", "a-1-0", "https://h/c/noarch/a-1-0.conda", ".conda", {".conda": "0" * 32})
    request = Request({"conda": ["a==1"]}, {"conda": ["c"]})
    return ResolvedEnvironment(env_id, request, (package,), datetime(2026, 1, 1), "me", (arch,), "conda-only")  # noqa: DTZ001


def test_what_is_added_is_found_by_id_default_and_name(tmp_path: Path) -> None:
    manifest, env = LocalManifest(tmp_path / "m" / "conda_v2.cnd"), environment(1)

    def change(content: Manifest) -> None:
        content.add(env, default=True)
        content.assign(Alias.parse("team/env:v1"), (env.id.req_id, env.id.full_id))

    manifest.update(change)
    content = reading(manifest.path)
    assert content.get(env.id) == env
    assert content.get(EnvID(env.id.req_id, "_default", "linux-64")) == env
    assert content.resolve(Alias.parse("team/env:v1")) == (env.id.req_id, env.id.full_id)
    assert content.resolve(Alias("full-id", env.id.full_id)) == (env.id.req_id, env.id.full_id)
    assert [s.id for s in content.summaries()] == [env.id]


def test_the_file_has_the_shape_that_other_programs_read(tmp_path: Path) -> None:
    path, env = tmp_path / "conda_v2.cnd", environment(1)
    LocalManifest(path).update(lambda m: m.add(env, default=True))
    document = json.loads(path.read_bytes())
    assert list(document) == ["version", "mappings", "mutable_aliases", "aliases", "environments"]
    assert document["version"] == 1
    known = document["environments"]["linux-64"][env.id.req_id]
    assert known == {env.id.full_id: env.as_document(), "_default": env.id.full_id}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("locks", [True, False])
def test_sixteen_writers_at_once_lose_nothing(tmp_path: Path, locks: bool) -> None:
    path = tmp_path / "here" / "conda_v2.cnd"
    more = [] if locks else [str(site_without_file_locks(tmp_path / "site"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*more, *sys.path])}
    processes = [subprocess.Popen([sys.executable, "-c", ADD, str(path), str(n)], env=environment) for n in range(16)]
    assert [p.wait(60) for p in processes] == [0] * 16
    aliases = json.loads(path.read_bytes())["aliases"]
    assert len(aliases) == 80
    assert [p.name for p in path.parent.iterdir()] == ["conda_v2.cnd"]


def test_without_file_locks_a_lock_file_that_stays_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_file_locks(monkeypatch)
    (tmp_path / "conda_v2.cnd.lock").write_text("another-host 1\n")
    manifest = LocalManifest(tmp_path / "conda_v2.cnd", lock_timeout=0.1)
    with pytest.raises(LockTimeoutError, match=r"conda_v2\.cnd\.lock was held by another program .*remove the file"):
        manifest.update(lambda m: m.add(environment(1)))
    (tmp_path / "conda_v2.cnd.lock").unlink()
    manifest.update(lambda m: m.add(environment(1)))
    assert reading(manifest.path).get(environment(1).id) == environment(1)


def test_a_file_that_was_replaced_while_it_was_opened_is_not_the_one_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "conda_v2.cnd"
    manifest, real, late = LocalManifest(path), os.open, list[bool]()
    manifest.update(lambda m: m.add(environment(1)))

    def open_late(name: object, *words: int, **more: int) -> int:
        descriptor = real(name, *words, **more)  # type: ignore[arg-type]
        if str(name) == str(path) and not late:
            late.append(True)
            LocalManifest(path).update(lambda m: m.add(environment(3)))
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    seen = list[int]()

    def change(content: Manifest) -> None:
        seen.append(len(content.environments["linux-64"]))
        content.add(environment(5))

    manifest.update(change)
    assert late == [True]
    assert seen[0] == 2, "what another writer has just put there is what is changed"
    assert len(reading(path).summaries()) == 3


def test_an_update_that_a_careless_writer_overwrote_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    manifest, calls = LocalManifest(path), list[int]()
    manifest.update(lambda m: m.add(environment(1)))
    stale = path.read_bytes()
    written = manifest._replace

    def overwritten(data: bytes) -> None:
        written(data)
        if not calls:
            calls.append(1)
            written(stale)

    manifest._replace = overwritten  # type: ignore[method-assign]
    manifest.update(lambda m: m.add(environment(2)))
    assert len(reading(path).summaries()) == 2


THEIRS = """
import fcntl, json, os, sys, time
path, who = sys.argv[1:]
for number in range(6):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    with os.fdopen(file, "r", closefd=False) as reader:
        content = json.loads(reader.read() or '{"version": 1}')
    content.setdefault("aliases", {})[f"theirs{who}/{number}"] = ["0" * 40, "1" * 40]
    time.sleep(0.02)
    aside = f"{path}.theirs{who}"
    with open(aside, "w") as writer:
        json.dump(content, writer)
    os.rename(aside, path)
    fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)
"""


def test_writers_that_put_back_what_they_read_before_lose_nothing_of_ours(tmp_path: Path) -> None:
    """The other extension's writers do not look whether the file that they locked is still at its path."""
    path = tmp_path / "conda_v2.cnd"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    programs = [program for number in range(3) for program in ((ADD, number), (THEIRS, number))]
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(number)], env=environment)
        for program, number in programs
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 6
    ours = {name for name in json.loads(path.read_bytes())["aliases"] if name.startswith("env")}
    assert ours == {f"env{number}/v{version}" for number in range(3) for version in range(5)}


STALE = """
import os, sys, time
path = sys.argv[1]
before = open(path, "rb")
with open(path + ".theirs", "wb") as writer:
    writer.write(open(path, "rb").read())
os.rename(path + ".theirs", path)
stale = before.read()
print("read", flush=True)
time.sleep(0.5)
with open(path + ".theirs", "wb") as writer:
    writer.write(stale)
os.rename(path + ".theirs", path)
"""


def test_an_update_is_not_done_while_somebody_has_a_replaced_file_open(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    LocalManifest(path).update(lambda m: m.add(environment(1)))
    stale = subprocess.Popen([sys.executable, "-c", STALE, str(path)], stdout=subprocess.PIPE)
    assert stale.stdout is not None
    assert stale.stdout.readline() == b"read\n"
    LocalManifest(path).update(lambda m: m.add(environment(2)))
    stale.stdout.close()
    assert stale.wait(60) == 0
    assert {s.id for s in reading(path).summaries()} == {environment(1).id, environment(2).id}


def test_who_waits_for_a_file_that_was_replaced_reads_the_new_content_in_it(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    LocalManifest(path).update(lambda m: m.add(environment(1)))
    with path.open("rb") as before:
        LocalManifest(path).update(lambda m: m.add(environment(2), default=True))
        assert os.fstat(before.fileno()).st_nlink == 0
        assert before.read() == path.read_bytes()


KILLED = """
import fcntl, json, os, signal, sys
from pathlib import Path
from asynccache.catalog.local import LocalManifest
from asynccache.model.alias import Alias

# what reaches the system; a writer that is killed right before its N-th one has done N - 1
SYSTEM = {"posix", "fcntl", "_io", "time"}
path = Path(sys.argv[1])
mine, theirs = ("a" * 40, "b" * 40), ["c" * 40, "d" * 40]

def update():
    LocalManifest(path).update(lambda m: m.assign(Alias("generic", "ours/v1"), mine))

def aliases():
    return json.loads(path.read_text())["aliases"]

def kill_before(number):
    left = [number]
    def profile(frame, event, function):
        if event == "c_call":
            owner = getattr(function, "__self__", None)
            module = getattr(function, "__module__", None) or type(owner).__module__
            if module in SYSTEM or type(owner).__module__ in SYSTEM:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(profile)

steps = 0
while True:
    steps += 1
    for each in path.parent.iterdir():
        each.unlink()
    # as it is when somebody else has written it: longer than what ours writes
    path.write_text(json.dumps({"version": 1, "aliases": {"first/v1": theirs}}, indent=400))
    os.utime(path, (1, 1))
    waiting = os.open(path, os.O_RDWR)  # the other extension's writer: it will lock this file, whatever is at the path
    child = os.fork()
    if not child:
        kill_before(steps)
        update()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    here = aliases()
    assert here["first/v1"] == theirs, (steps, here)
    assert code or here["ours/v1"] == list(mine), steps
    fcntl.flock(waiting, fcntl.LOCK_EX)
    content = json.loads(os.pread(waiting, 1 << 20, 0))
    content["aliases"]["second/v1"] = theirs
    aside = path.with_name("theirs")
    aside.write_text(json.dumps(content))
    aside.rename(path)
    os.close(waiting)
    assert aliases().keys() >= {"first/v1", "second/v1"}, steps
    assert code or "ours/v1" in aliases(), steps
    for each in path.parent.iterdir():
        each.name.endswith(".tmp") and os.utime(each, (1, 1))  # an hour later
    update()
    assert aliases().keys() == {"first/v1", "second/v1", "ours/v1"}, steps
    assert [each.name for each in path.parent.iterdir()] == [path.name], steps
    if not code:
        break
print(steps)
"""


def test_a_writer_that_is_killed_between_any_two_steps_leaves_a_whole_file_and_the_updates_of_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "here").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "here" / "conda_v2.cnd")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10, "every step was tried"


def test_an_entry_of_another_program_stays_as_it_is_until_it_says_something_else(tmp_path: Path) -> None:
    path, env = tmp_path / "conda_v2.cnd", environment(1)
    theirs = {**env.as_document(), "sources": ["conda::https://u:pw@h/c"], "more": 1}
    known = replace(env, request=Request(env.request.deps, {"conda": ["https://h/c"]}))
    content = {"version": 1, "environments": {"linux-64": {env.id.req_id: {env.id.full_id: theirs}}}}
    path.write_text(json.dumps(content))
    for changed, expected in ((known, theirs), (env, env.as_document())):
        LocalManifest(path).update(lambda m, e=changed: m.add(e, default=True))  # type: ignore[misc]
        entries = json.loads(path.read_bytes())["environments"]["linux-64"][env.id.req_id]
        assert entries == {env.id.full_id: expected, "_default": env.id.full_id}


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"version": 2}', b'{"version": 1, "environments": []}', b"\xff"])
def test_a_damaged_file_is_kept_aside_started_anew_and_said(tmp_path: Path, data: bytes) -> None:
    path, said = tmp_path / "conda_v2.cnd", list[str]()
    path.write_bytes(data)
    manifest = LocalManifest(path, say=said.append)
    with pytest.raises(IntegrityError, match=str(path)):
        reading(path).summaries()
    manifest.update(lambda m: m.add(environment(1)))
    (kept,) = [p for p in tmp_path.iterdir() if p.is_file() and p != path]
    assert kept.read_bytes() == data
    assert str(kept) in said[0]
    assert [s.id for s in reading(path).summaries()] == [environment(1).id]


def test_an_empty_or_missing_file_is_an_empty_manifest(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    assert reading(path).summaries() == []
    path.write_bytes(b"")
    assert reading(path).summaries() == []


def test_the_version_may_be_text() -> None:
    assert Manifest.from_json(b'{"version": "1"}').environments == {}
