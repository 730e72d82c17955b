"""`@huggingface`: a hub on this machine, asked by the real huggingface_hub in the steps of a real flow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.interpreters import interpreters
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.model_hub import ModelHub
from tests.support.testdata import REPOSITORY

FLOW = Path(__file__).parent / "flows" / "huggingface_flow.py"
MODULES = sorted((REPOSITORY / "asynccache" / "metaflow").glob("huggingface*.py"))
TOKEN = "hf_nobodyMaySeeThis"
OLD = {"config.json": b'{"old": true}', "weights.bin": bytes(range(256)) * 40}
NEW = {"config.json": b'{"new": true}', "deep/er/weights.bin": bytes(range(255, -1, -1)) * 40}
_SECONDS = 120
_SNAPSHOT = """
import os
from asynccache.metaflow.huggingface_models import Model
from asynccache.metaflow.huggingface_snapshots import Hub
try:
    value = Hub(os.environ["HUB"], os.environ.get("TOKEN"), int(os.environ.get("LIMIT", "60"))).snapshot(
        Model("team/tiny", os.environ.get("REVISION", "main")), os.environ["PARENT"])
except Exception as error:
    value = [type(error).__name__, str(error)]
"""
_ARGUMENTS = """
from asynccache.metaflow.huggingface import HuggingFaceDecorator
value = []
for arguments in GIVEN:
    try:
        HuggingFaceDecorator(arguments).step_init(None, None, "start", None, None, None, None)
        value.append(None)
    except Exception as error:
        value.append([type(error).__mro__[1].__name__, str(error)])
"""
_TOKENS = """
import traceback
from asynccache.metaflow.huggingface_auth import find_token
value = []
for name, providers in GIVEN:
    try:
        value.append(find_token(name, providers))
    except Exception as error:
        value.append([type(error).__mro__[1].__name__, str(error), traceback.format_exc()])
"""
_LIMITS = """
import os
from asynccache.metaflow.configuration import configuration
value = []
for seconds in GIVEN:
    os.environ["METAFLOW_HUGGINGFACE_DOWNLOAD_TIMEOUT"] = seconds
    try:
        value.append(configuration()["HUGGINGFACE_DOWNLOAD_TIMEOUT"])
    except Exception as error:
        value.append([type(error).__name__, str(error)])
"""
_DECORATE = """
from metaflow import current
from asynccache.metaflow.huggingface import HuggingFaceDecorator
decorator = HuggingFaceDecorator({"models": {"tiny": "team/tiny"}})
try:
    decorator.step_init(None, None, "start", None, None, None, None)
    decorator.task_decorate(print, None, None, 0, 0, None)
    value = None
except Exception as error:
    import traceback
    value = [type(error).__mro__[1].__name__, str(error), traceback.format_exc()]
"""
_PROVIDERS = f"""
class Good:
    TYPE = "good"
    def get_token(self):
        return "  {TOKEN}\\n"

class Public(Good):
    def get_token(self):
        return None

class Failing(Good):
    def get_token(self):
        raise ValueError("cannot refresh {TOKEN}")

class Odd(Good):
    def get_token(self):
        return "two words {TOKEN}"

class Nameless:
    def get_token(self):
        return "{TOKEN}"

class Mute:
    TYPE = "mute"

instance = Good()
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """Where code runs that needs Metaflow: an interpreter, copied sources, a directory, the hub."""

    python: Path
    sources: Path
    directory: Path
    hub: ModelHub

    def variables(self, **more: str) -> dict[str, str]:
        """Return all environment variables, METAFLOW_HUGGINGFACE_ENDPOINT among them."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "PYTHONPATH": f"{self.sources}:{self.directory}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "METAFLOW_USER": "tester",
            "METAFLOW_HUGGINGFACE_ENDPOINT": self.hub.url,
            "HUB": self.hub.url,
            "PARENT": str(self.parent),
            **more,
        }

    @property
    def parent(self) -> Path:
        """Where snapshots are."""
        return self.directory / "models"

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the interpreter; standard error is with standard output."""
        return subprocess.run(
            [str(self.python), *words],
            cwd=self.directory,
            env=self.variables(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def value(self, code: str, **more: str) -> Any:
        """Run code and return the `value` that it leaves."""
        done = self.run("-c", f"import metaflow\n{code}\nimport json\nprint('VALUE', json.dumps(value))", **more)
        assert done.returncode == 0, done.stdout
        line = next(line for line in done.stdout.splitlines() if line.startswith("VALUE "))
        return json.loads(line.removeprefix("VALUE "))

    def start(self, code: str, **more: str) -> subprocess.Popen[bytes]:
        """Start code and do not wait for it."""
        return subprocess.Popen(
            [str(self.python), "-c", f"import metaflow\n{code}"],
            cwd=self.directory,
            env=self.variables(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(name="sources", scope="module")
def copy_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what is imported; an installation's lists of files, which Metaflow would go by, stay behind."""
    place = tmp_path_factory.mktemp("sources")
    for name in ("asynccache", "metaflow_extensions"):
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return place


@pytest.fixture(name="bed")
def make_bed(tmp_path: Path, sources: Path) -> Iterator[Bed]:
    try:
        python = launch_venv("huggingface_hub>=0.19", asynccache=False) / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    (tmp_path / ".metaflow").mkdir()
    with ModelHub() as hub:
        yield Bed(python, sources, tmp_path, hub)


def files(directory: Path) -> dict[str, bytes]:
    """Return all files below a directory, by path."""
    found = [path for path in directory.resolve().rglob("*") if path.is_file()]
    return {str(path.relative_to(directory.resolve())): path.read_bytes() for path in found}


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class TestAFlow:
    @pytest.mark.slow
    def test_steps_have_models_by_key_and_tasks_of_a_node_download_each_file_once(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD, branch="v1", large={"weights.bin"}, token=TOKEN)
        new = bed.hub.publish("team/tiny", NEW, large={"deep/er/weights.bin"}, token=TOKEN)
        done = bed.run(str(FLOW), "--no-pylint", "run", HF_TOKEN=TOKEN)
        assert done.returncode == 0, done.stdout

        code = "from metaflow import Flow, namespace\nnamespace(None)\nrun = Flow('HuggingFaceFlow').latest_run\n"
        names = ("outside", "there", "many_paths", "paths", "keys", "refused", "info")
        asked = [f"'{name}': (run['end'].task[{name!r}].data)" for name in names]
        seen = bed.value(code + "value = {" + ", ".join(asked) + "}")
        parent = bed.directory / "metaflow_huggingface"
        assert "only there in a step that has @huggingface" in seen["outside"]
        assert seen["there"] is False
        assert seen["many_paths"] == [str(parent / "team%2Ftiny_main")] * 3
        assert seen["paths"] == {
            "old": str(parent / "team%2Ftiny_v1"),
            "new": str(parent / "team%2Ftiny_main"),
        }
        assert seen["keys"] == ["never", "new", "old"]
        assert "team/absent@main cannot be had from http://127.0.0.1" in seen["refused"]
        assert seen["info"] == ["team/tiny", new, "ModelInfo"]
        same = bed.value(
            code + "both = run['join'].task\n"
            f"value = [both['old_files'].data == {OLD!r}, [f == {NEW!r} for f in both['many_files'].data]]"
        )
        assert same == [True, [True, True, True]]
        assert bed.hub.downloads("deep/er/weights.bin") == 1
        assert files(parent / "team%2Ftiny_main") == NEW

        assert {each.token for each in bed.hub.requests} == {TOKEN}
        assert TOKEN not in done.stdout
        written = [path for path in bed.directory.rglob("*") if path.is_file()]
        assert len(written) > 20
        assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []

    def test_arguments_are_refused_before_anything_runs(self, bed: Bed) -> None:
        text = FLOW.read_text().replace('models=["team/tiny"]', "models=[]")
        (bed.directory / "flow.py").write_text(text)
        done = bed.run("flow.py", "--no-pylint", "run")
        assert done.returncode != 0
        assert "@huggingface needs models" in done.stdout
        assert "Task is starting" not in done.stdout

    def test_nodes_are_told_the_settings_in_the_code_package_and_their_own_variables_count_first(
        self, bed: Bed
    ) -> None:
        shutil.copyfile(FLOW, bed.directory / "flow.py")
        set_here = {
            "METAFLOW_HUGGINGFACE_LOCAL_DIR": "/scratch",
            "METAFLOW_HUGGINGFACE_DOWNLOAD_TIMEOUT": "77",
            "METAFLOW_HUGGINGFACE_AUTH_PROVIDERS": '{"good": "my_providers.Good"}',
        }
        done = bed.run("flow.py", "--no-pylint", "package", "save", "code.tar", HF_TOKEN=TOKEN, **set_here)
        assert done.returncode == 0, done.stdout
        node = bed.directory / "node"
        with tarfile.open(bed.directory / "code.tar") as packed:
            packed.extractall(node, filter="data")
        assert not any(TOKEN.encode() in content for content in files(node).values())
        code = (
            "import metaflow, json\nfrom asynccache.metaflow.huggingface_settings import read_settings\n"
            "print(json.dumps(read_settings()))"
        )
        done = subprocess.run(
            [str(bed.python), "-c", code],
            cwd=node,
            env={
                "HOME": str(bed.directory),
                "PATH": os.environ["PATH"],
                "METAFLOW_USER": "tester",
                "PYTHONPATH": str(node / ".mf_code"),
                "METAFLOW_EXTRACTED_ROOT": str(node),
                "METAFLOW_HUGGINGFACE_DOWNLOAD_TIMEOUT": "88",
            },
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["env", {"good": "my_providers.Good"}, bed.hub.url, "/scratch", 88]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "needs models"),
    ({"models": []}, "needs models"),
    ({"models": {}}, "needs models"),
    ({"models": "team/tiny"}, "a list of 'REPO@REVISION' or a map from alias to that, not a str"),
    ({"models": 3}, "not a int"),
    ({"models": [3]}, "has 3: a model is written"),
    ({"models": [None]}, "has None: a model is written"),
    ({"models": {"a": ["team/tiny"]}}, "a model is written"),
    ({"models": ["team/tiny", "team/tiny@v1"]}, "names 'team/tiny' twice"),
    ({"models": {"": "team/tiny"}}, "empty alias"),
    ({"models": {"  ": "team/tiny"}}, "empty alias"),
    ({"models": {1: "team/tiny"}}, "alias 1: an alias is a text"),
    ({"models": [""]}, "neither part empty"),
    ({"models": ["@v1"]}, "neither part empty"),
    ({"models": ["team/tiny@"]}, "neither part empty"),
    ({"models": ["../etc"]}, "unsafe as a path"),
    ({"models": ["team/.."]}, "unsafe as a path"),
    ({"models": ["/team/tiny"]}, "unsafe as a path"),
    ({"models": ["team/tiny@.."]}, "unsafe as a path"),
    ({"models": ["team/tiny@a//b"]}, "unsafe as a path"),
    ({"models": ["team\\tiny"]}, "unsafe as a path"),
    ({"models": ["team/ti\0ny"]}, "unsafe as a path"),
    ({"models": ["team/tiny@" + "r" * 300]}, "unsafe as a path"),
    ({"models": ["team/tiny"], "lazy": "no"}, "lazy=...) takes True or False"),
    ({"models": ["team/tiny"], "metadata_only": 1}, "metadata_only=...) takes True or False"),
    ({"models": ["team/tiny"], "local_dir": 1}, "local_dir=...) takes the path of a directory"),
    ({"models": ["team/tiny"], "local_dir": ""}, "local_dir=...) takes the path of a directory"),
]
PROVIDERS: list[tuple[dict[str, Any], str]] = [
    ({}, "names 'mine', which is none of ['env']"),
    ({"mine": "nodots"}, "written 'package.module.Class'"),
    ({"mine": ".Class"}, "written 'package.module.Class'"),
    ({"mine": 3}, "written 'package.module.Class'"),
    ({"mine": "no_such.Class"}, "No module named 'no_such'"),
    ({"mine": "my_providers.Failing"}, "failed with ValueError"),
    ({"mine": "my_providers.Odd"}, "returned a str that cannot be a token"),
    ({"mine": "my_providers.Nameless"}, "not a class with TYPE and get_token()"),
    ({"mine": "my_providers.Mute"}, "not a class with TYPE and get_token()"),
    ({"mine": "my_providers.instance"}, "not a class with TYPE and get_token()"),
    ({"mine": "my_providers.Absent"}, "not a class with TYPE and get_token()"),
]


class TestErrors:
    def test_each_argument_that_makes_no_sense_has_its_own_message(self, bed: Bed) -> None:
        given = [arguments for arguments, _said in REFUSED]
        answers = bed.value(f"GIVEN = {given!r}\n{_ARGUMENTS}")
        for (arguments, said), answer in zip(REFUSED, answers, strict=True):
            assert answer is not None, arguments
            assert answer[0] == "MetaflowException"
            assert said in answer[1], arguments

    def test_lists_and_maps_with_and_without_a_revision_are_taken(self, bed: Bed) -> None:
        given: list[dict[str, Any]] = [
            {"models": ["gpt2", "team/tiny@refs/pr/1"]},
            {"models": {"a": "team/tiny", "b": "team/tiny@v1"}, "lazy": False, "metadata_only": True, "local_dir": "x"},
        ]
        assert bed.value(f"GIVEN = {given!r}\n{_ARGUMENTS}") == [None, None]
        directories = (
            "from asynccache.metaflow.huggingface_models import read_models\n"
            f"value = [[k, str(m), m.directory] for k, m in read_models({given[0]['models']!r}).items()]"
        )
        assert bed.value(directories) == [
            ["gpt2", "gpt2@main", "gpt2_main"],
            ["team/tiny", "team/tiny@refs/pr/1", "team%2Ftiny_refs%2Fpr%2F1"],
        ]

    def test_providers_that_are_none_or_fail_are_told_without_what_they_say(self, bed: Bed) -> None:
        (bed.directory / "my_providers.py").write_text(_PROVIDERS)
        given = [("mine", providers) for providers, _said in PROVIDERS]
        answers = bed.value(f"GIVEN = {given!r}\n{_TOKENS}")
        for (providers, said), (base, message, trace) in zip(PROVIDERS, answers, strict=True):
            assert base == "MetaflowException"
            assert "'mine'" in message
            assert said in message, providers
            assert TOKEN not in message + trace

    @pytest.mark.parametrize(
        ("endpoint", "said"),
        [
            ("http://user:pass@127.0.0.1:1", "has a user or a password"),
            ("127.0.0.1:1", "must be an http or https address"),
        ],
    )
    def test_a_hub_is_an_address_without_credentials(self, bed: Bed, endpoint: str, said: str) -> None:
        base, message, trace = bed.value(_DECORATE, METAFLOW_HUGGINGFACE_ENDPOINT=endpoint)
        assert base == "MetaflowException"
        assert said in message
        assert "pass@" not in message + trace

    def test_a_time_limit_is_a_positive_integer(self, bed: Bed) -> None:
        given = ["0", "-3", "soon", "1.5", ""]
        base = "METAFLOW_HUGGINGFACE_DOWNLOAD_TIMEOUT must be a positive integer. Got '{}'."
        assert bed.value(f"GIVEN = {given!r}\n{_LIMITS}") == [
            ["MetaflowException", base.format(seconds)] for seconds in given
        ]
        assert bed.value(f"GIVEN = ['7']\n{_LIMITS}") == [7]

    def test_a_python_without_huggingface_hub_is_told_what_to_add(self, bed: Bed) -> None:
        without = Bed(launch_venv(asynccache=False) / "bin" / "python", bed.sources, bed.directory, bed.hub)
        base, message, _trace = without.value(_DECORATE)
        assert base == "MetaflowException"
        assert "needs huggingface_hub" in message


class TestTheContext:
    def test_nothing_is_fetched_before_it_is_asked_for_and_only_once(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        code = _DECORATE + (
            "import pickle\nhere = current.huggingface\nbefore = sorted(here.models)\n"
            "info = here.model_info['tiny']\nagain = here.model_info['tiny']\n"
            "try:\n    here.models['other']\nexcept KeyError as error:\n    wrong = str(error)\n"
            "try:\n    pickle.dumps(here)\nexcept TypeError as error:\n    stored = str(error)\n"
            "decorator.task_finished('start', None, None, True, 0, 0)\n"
            "value = [before, info is again, wrong, stored, current.get('huggingface'), 'huggingface' in current]\n"
        )
        before, same, wrong, stored, gone, there = bed.value(code)
        assert before == ["tiny"]
        assert same is True
        assert "has no model 'other'; it has ['tiny']" in wrong
        assert "cannot be stored" in stored
        assert (gone, there) == (None, False)
        assert [each.path for each in bed.hub.requests] == ["/api/models/team/tiny/revision/main"]
        assert [each.token for each in bed.hub.requests] == [None]

    def test_a_step_that_wants_information_only_has_no_files(self, bed: Bed) -> None:
        code = _DECORATE.replace('"team/tiny"}', '"team/tiny"}, "metadata_only": True') + (
            "try:\n    current.huggingface.models['tiny']\nexcept Exception as error:\n    value = str(error)\n"
        )
        assert "because of @huggingface(metadata_only=True)" in bed.value(code)
        assert not (bed.directory / "metaflow_huggingface").exists()

    @pytest.mark.parametrize("provider", ["good", "public"])
    def test_the_named_provider_alone_decides_on_the_token(self, bed: Bed, provider: str) -> None:
        (bed.directory / "my_providers.py").write_text(_PROVIDERS)
        stored = bed.directory / ".cache" / "huggingface" / "token"
        stored.parent.mkdir(parents=True)
        stored.write_text("hf_ofTheUsersLogin")
        bed.hub.publish("team/tiny", OLD)
        path = bed.value(
            _DECORATE + "value = value or current.huggingface.models['tiny']",
            METAFLOW_HUGGINGFACE_AUTH_PROVIDER=provider,
            METAFLOW_HUGGINGFACE_AUTH_PROVIDERS=json.dumps({provider: f"my_providers.{provider.capitalize()}"}),
            METAFLOW_HUGGINGFACE_LOCAL_DIR="~/shared",
            HF_TOKEN="hf_ofTheEnvironment",
        )
        assert path == str(bed.directory / "shared" / "team%2Ftiny_main")
        assert files(Path(path)) == OLD
        assert {each.token for each in bed.hub.requests} == {TOKEN if provider == "good" else None}

    def test_each_variable_of_the_built_in_provider_counts(self, bed: Bed) -> None:
        names = ("HUGGING_FACE_HUB_TOKEN", "HUGGING_FACE_TOKEN", "HF_TOKEN")
        code = (
            "import os\nfrom asynccache.metaflow.huggingface_auth import find_token\nvalue = [find_token('env', {})]\n"
            f"for name in {names!r}:\n    os.environ[name] = ' of_' + name + ' '\n"
            "    value.append(find_token('env', {}))\n"
        )
        assert bed.value(code, HF_TOKEN=" ") == [None, *(f"of_{name}" for name in names)]


class TestSnapshots:
    def test_a_branch_that_moved_is_replaced_and_the_earlier_snapshot_stays(self, bed: Bed) -> None:
        old = bed.hub.publish("team/tiny", OLD)
        path = Path(bed.value(_SNAPSHOT))
        earlier = path.resolve()
        bed.hub.publish("team/tiny", NEW)
        assert bed.value(_SNAPSHOT) == str(path) == str(bed.parent / "team%2Ftiny_main")
        assert files(path) == NEW
        assert files(earlier) == OLD
        assert earlier.name == f".team%2Ftiny@{old}"

    def test_a_commit_that_is_there_is_not_asked_for_again(self, bed: Bed) -> None:
        commit = bed.hub.publish("team/tiny", OLD)
        path = bed.value(_SNAPSHOT, REVISION=commit)
        bed.hub.requests.clear()
        assert bed.value(_SNAPSHOT, REVISION=commit) == path == str(bed.parent / f"team%2Ftiny_{commit}")
        assert bed.hub.requests == []

    @pytest.mark.parametrize("name", ["weights.bin", "config.json"])
    def test_a_file_that_comes_differently_once_is_fetched_again(self, bed: Bed, name: str) -> None:
        bed.hub.publish("team/tiny", OLD, large={"weights.bin"})
        bed.hub.damage[name] = 1
        assert files(Path(bed.value(_SNAPSHOT))) == OLD
        assert bed.hub.downloads(name) == 2

    def test_a_file_that_comes_differently_each_time_is_no_snapshot(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD, large={"weights.bin"})
        bed.hub.damage["weights.bin"] = 9
        kind, said = bed.value(_SNAPSHOT)
        assert kind == "HuggingFaceException"
        assert "weights.bin does not have the digest that the hub names for it" in said
        assert not (bed.parent / "team%2Ftiny_main").exists()
        bed.hub.damage.clear()
        assert files(Path(bed.value(_SNAPSHOT))) == OLD

    def test_a_hub_that_stops_answering_is_given_up_and_nothing_half_is_shown(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        bed.hub.stall.add("weights.bin")
        began = time.monotonic()
        kind, said = bed.value(_SNAPSHOT, LIMIT="2")
        assert time.monotonic() - began < 30
        assert kind == "HuggingFaceException"
        assert "made no progress for 2 s" in said
        assert [path.name for path in bed.parent.iterdir() if not path.name.endswith((".partial", ".lock"))] == []
        bed.hub.stall.clear()
        assert files(Path(bed.value(_SNAPSHOT))) == OLD

    def test_another_task_that_does_not_get_on_is_not_waited_for_forever(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        bed.hub.stall.add("weights.bin")
        first = bed.start(_SNAPSHOT)
        try:
            wait_for(lambda: bed.hub.downloads("weights.bin") == 1)
            kind, said = bed.value(_SNAPSHOT, LIMIT="2")
        finally:
            first.kill()
            first.wait()
        assert kind == "HuggingFaceException"
        assert "another task downloads it, without any progress for 2 s" in said

    def test_a_killed_task_takes_its_download_with_it_and_the_next_one_goes_on(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        bed.hub.stall.add("weights.bin")
        task = bed.start(_SNAPSHOT)
        wait_for(lambda: bed.hub.downloads("weights.bin") == 1)
        children = Path(f"/proc/{task.pid}/task/{task.pid}/children").read_text().split()
        os.kill(task.pid, signal.SIGKILL)
        task.wait()
        assert len(children) == 1
        wait_for(lambda: not Path(f"/proc/{children[0]}").exists())
        bed.hub.stall.clear()
        assert files(Path(bed.value(_SNAPSHOT))) == OLD

    def test_a_directory_of_another_tool_is_put_aside(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        theirs = bed.parent / "team%2Ftiny_main"
        theirs.mkdir(parents=True)
        (theirs / "mine.txt").write_text("kept")
        assert files(Path(bed.value(_SNAPSHOT))) == OLD
        assert (bed.parent / "team%2Ftiny_main.replaced" / "mine.txt").read_text() == "kept"

    def test_a_place_that_cannot_be_written_is_named(self, bed: Bed) -> None:
        commit = bed.hub.publish("team/tiny", OLD)
        bed.parent.write_text("a file")
        kind, said = bed.value(_SNAPSHOT, REVISION=commit)
        assert kind == "HuggingFaceException"
        assert f"cannot be stored in {bed.parent}" in said

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_the_default_place_is_not_shared_with_other_users(self, bed: Bed) -> None:
        theirs = bed.directory / "metaflow_huggingface"
        theirs.mkdir()
        os.chown(theirs, 4242, 4242)
        base, message, _trace = bed.value(_DECORATE)
        assert base == "MetaflowException"
        assert "belongs to another user (uid 4242)" in message

    def test_a_hub_that_repeats_the_token_does_not_get_it_shown(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD, token="hf_another")
        kind, said = bed.value(_SNAPSHOT, TOKEN=TOKEN)
        assert kind == "HuggingFaceException"
        assert "bad token ***" in said
        assert TOKEN not in said


@pytest.mark.parametrize("version", interpreters())
def test_a_step_may_have_any_python_since_3_7(version: str) -> None:
    code = "import sys\nfor path in sys.argv[1:]:\n    compile(open(path, encoding='utf-8').read(), path, 'exec')"
    done = subprocess.run(
        [str(interpreters()[version]), "-c", code, *map(str, MODULES)],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
