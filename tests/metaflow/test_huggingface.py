"""`@huggingface`: a hub on this machine, asked by the real huggingface_hub in the steps of a real flow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metaflow.hub_bed import (
    DECORATE,
    NEW,
    OLD,
    PROVIDER_MODULE,
    SECONDS,
    TOKEN,
    Bed,
    copy_sources,
    files,
    hub_bed,
)
from tests.support.interpreters import interpreters
from tests.support.testdata import REPOSITORY

FLOW = Path(__file__).parent / "flows" / "huggingface_flow.py"
MODULES = sorted((REPOSITORY / "asynccache" / "metaflow").glob("huggingface*.py"))


@pytest.fixture(name="sources", scope="module")
def make_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(name="bed")
def make_bed(tmp_path: Path, sources: Path) -> Iterator[Bed]:
    with hub_bed(tmp_path, sources) as bed:
        yield bed


class TestAFlow:
    @pytest.mark.slow
    @pytest.mark.long
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
        assert "team/absent@main cannot be obtained from http://127.0.0.1" in seen["refused"]
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
            "import metaflow, json\nfrom asynccache.metaflow.huggingface.settings import read_settings\n"
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
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["env", {"good": "my_providers.Good"}, bed.hub.url, "/scratch", 88]


class TestTheContext:
    def test_nothing_is_fetched_before_it_is_asked_for_and_only_once(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        code = DECORATE + (
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
        code = DECORATE.replace('"team/tiny"}', '"team/tiny"}, "metadata_only": True') + (
            "try:\n    current.huggingface.models['tiny']\nexcept Exception as error:\n    value = str(error)\n"
        )
        assert "because of @huggingface(metadata_only=True)" in bed.value(code)
        assert not (bed.directory / "metaflow_huggingface").exists()

    @pytest.mark.parametrize("provider", ["good", "public"])
    def test_the_named_provider_alone_decides_on_the_token(self, bed: Bed, provider: str) -> None:
        (bed.directory / "my_providers.py").write_text(PROVIDER_MODULE)
        stored = bed.directory / ".cache" / "huggingface" / "token"
        stored.parent.mkdir(parents=True)
        stored.write_text("hf_ofTheUsersLogin")
        bed.hub.publish("team/tiny", OLD)
        path = bed.value(
            DECORATE + "value = value or current.huggingface.models['tiny']",
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
            "import os\nfrom asynccache.metaflow.huggingface.auth import find_token\nvalue = [find_token('env', {})]\n"
            f"for name in {names!r}:\n    os.environ[name] = ' of_' + name + ' '\n"
            "    value.append(find_token('env', {}))\n"
        )
        assert bed.value(code, HF_TOKEN=" ") == [None, *(f"of_{name}" for name in names)]


@pytest.mark.parametrize("version", interpreters())
def test_a_step_may_have_any_python_since_3_7(version: str) -> None:
    code = "import sys\nfor path in sys.argv[1:]:\n    compile(open(path, encoding='utf-8').read(), path, 'exec')"
    done = subprocess.run(
        [str(interpreters()[version]), "-c", code, *map(str, MODULES)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
