"""Flows run here with --environment=conda: each step has its own versions and its own interpreter."""

import json
import tarfile
from collections.abc import Iterator

import pytest

from tests.metaflow.local import LocalBed, local_bed

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, pytest.mark.xdist_group("flows")]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBed]:
    with local_bed(tmp_path_factory.mktemp("flows")) as found:
        found.metaflow(
            *("environment", "resolve", "-f", _file(found, "tabular.yml", "dependencies:\n  - tabular=1.4.0\n")),
            *("--python", "3.12.*", "--alias", "team/tabular:v1"),
        )
        yield found


def _file(bed: LocalBed, name: str, text: str) -> str:
    path = bed.directory / name
    path.write_text(text)
    return str(path)


def test_steps_have_their_own_conda_packages_and_pythons_and_a_second_run_reuses_them(bed: LocalBed) -> None:
    first = bed.flow("conda_versions_flow.py", "run")

    # what the first step asks for was resolved under a name already
    assert "Resolving 1 of 2 environments (others are cached) ..." in first
    assert "done in " in first
    assert first.count("Creating Conda environment ") == 2
    triple = bed.look("json.loads(Flow('CondaVersionsFlow').latest_run['other'].task.metadata_dict['conda_env_id'])")
    assert triple[2] == "linux-64"
    # a local run keeps no code package, without which Metaflow's client does not ask
    environment = "__import__('metaflow').plugins.ENVIRONMENTS"
    metadata = "Flow('CondaVersionsFlow').latest_run['other'].task.metadata_dict"
    info = bed.look(f"[e for e in {environment} if e.TYPE == 'conda'][0].get_client_info('', {metadata})")
    assert info["packages"]["conda"]["tabular"] == "1.5.0"
    again = bed.flow("conda_versions_flow.py", "run")
    assert "Resolving" not in again
    assert f"Using existing Conda environment {triple[0]} ({triple[1]})" in again
    labelled = bed.metaflow("environment", "--quiet", "show", "--pathspec", "CondaVersionsFlow/latest/other")
    assert "\nstep:CondaVersionsFlow/latest/other@linux-64\n" in labelled


@pytest.mark.long
def test_steps_have_their_own_pypi_packages_also_beside_conda_ones(bed: LocalBed) -> None:
    said = bed.flow("pypi_versions_flow.py", "run")

    assert "Resolving 3 environments ..." in said
    assert "done in " in said


@pytest.mark.long
def test_flags_for_the_index_count_when_a_flow_runs(bed: LocalBed) -> None:
    bed.flow("extras_flow.py", "run")


@pytest.mark.long
def test_the_other_environment_type_is_ours_too(bed: LocalBed) -> None:
    name = "pypi_versions_flow.py"
    bed.flow(name, "show")  # puts the file there

    done = bed.run(str(bed.directory / name), "--environment=pypi", "--no-pylint", "run")

    assert done.returncode == 0, done.stdout


def test_environments_are_used_by_name_extended_and_by_the_step_that_had_them(bed: LocalBed) -> None:
    if not bed.look("'CondaVersionsFlow' in [each.id for each in Metaflow()]"):
        bed.flow("conda_versions_flow.py", "run")
    past = bed.look("Flow('CondaVersionsFlow').latest_run['other'].pathspec")

    bed.flow("named_flow.py", "run", variables={"PAST_STEP": past})

    ids = {
        step: bed.look(f"json.loads(Flow('NamedFlow').latest_run['{step}'].task.metadata_dict['conda_env_id'])")
        for step in ("start", "more", "late")
    }
    assert ids["start"] == ids["late"] != ids["more"]
    said = bed.metaflow("environment", "--quiet", "create", "--pathspec", "NamedFlow/latest/more")
    assert f"metaflow_{ids['more'][0]}_{ids['more'][1]}/bin/python" in said


def test_additions_that_a_base_meets_are_shown_as_compatible_with_it_and_nothing_is_solved(bed: LocalBed) -> None:
    shown = bed.directory / "compatible.json"
    bed.flow("compatible_flow.py", "environment", "show", "--output", str(shown))
    start, end = (json.loads(shown.read_text())[step] for step in ("start", "end"))
    assert start["env"]["packages"] == end["env"]["packages"]
    assert start["env_id"][0] == end["env_id"][0]
    assert "conda::tabular==>=1.4,<1.5" not in start["env"]["deps"]
    assert start["requested_packages"]["conda"]["tabular"].endswith(">=1.4,<1.5")
    assert start["requested_hash"] != start["env_id"][0]

    said = bed.flow("compatible_flow.py", "environment", "show")
    assert "Environment is derived from team/tabular:v1, resolved, compatible with base environment" in said


def test_a_name_that_is_not_known_is_said_before_anything_runs(bed: LocalBed) -> None:
    failed = bed.flow("named_flow.py", "run", code=1, variables={"PAST_STEP": "CondaVersionsFlow/nope/other"})
    assert "Step 'past': Base environment 'step:CondaVersionsFlow/nope/other' not found" in failed
    assert "Workflow starting" not in failed
    assert "Traceback" not in failed


def test_all_names_that_are_not_known_are_told_at_once(bed: LocalBed) -> None:
    failed = bed.flow("nameless_flow.py", "run", code=1)
    assert "Step 'start': Base environment 'team/first:v1' not found" in failed
    assert "Step 'end': Base environment 'team/second:v1' not found" in failed


def test_a_choice_that_cannot_be_is_one_sentence_where_environments_are_wanted(bed: LocalBed) -> None:
    wrong = {"METAFLOW_CONDA_PACK": ""}
    failed = bed.flow("nameless_flow.py", "run", code=1, variables=wrong)
    assert "METAFLOW_CONDA_PACK must be set to one of ['auto', 'always', 'never']. Got ''." in failed
    assert "Traceback" not in failed


@pytest.mark.long
def test_a_variable_that_is_not_there_is_named(bed: LocalBed) -> None:
    past = bed.look("Flow('CondaVersionsFlow').latest_run['other'].pathspec")
    failed = bed.flow("named_flow.py", "run", "--which", "nope", code=1, variables={"PAST_STEP": past})

    assert "Cannot find environment 'team/tabular:nope' of step 'late'" in failed


def test_old_forms_work_and_say_once_what_to_write(bed: LocalBed) -> None:
    said = bed.flow("old_forms_flow.py", "run")

    assert said.count("DEPRECATED: Using 'pip_packages' in '@conda' is deprecated.") == 1
    assert "Please use @pypi(packages=...) instead." in said
    assert said.count("DEPRECATED: Using 'name' in '@conda' is deprecated.") == 1
    assert said.count("DEPRECATED: Using '@pip' is deprecated. Please use '@pypi' instead.") == 1


def test_decorators_need_the_environment(bed: LocalBed) -> None:
    bed.flow("conda_versions_flow.py", "show")
    done = bed.run(str(bed.directory / "conda_versions_flow.py"), "--no-pylint", "run")

    assert done.returncode == 1
    assert "The @conda_base decorator requires --environment=conda" in done.stdout


def test_a_flow_shows_and_resolves_its_environments(bed: LocalBed) -> None:
    bed.flow("conda_versions_flow.py", "environment", "resolve")
    output = bed.directory / "shown.json"

    said = bed.flow("conda_versions_flow.py", "environment", "show")
    bed.flow("conda_versions_flow.py", "environment", "show", "--output", str(output))
    again = bed.flow("conda_versions_flow.py", "environment", "resolve")

    shown = json.loads(output.read_text())
    assert list(shown) == ["start", "other", "end"]
    assert shown["end"]["is_disabled"]
    assert shown["other"]["requested_packages"]["conda"]["tabular"] == "1.5.0"
    assert shown["other"]["env"]["env_type"] == "conda-only"
    assert "Step end\n\tEnvironment is disabled" in said
    assert "==========\n" in said
    assert "\nArch linux-64\n" in said
    assert bed.flow("conda_versions_flow.py", "--quiet", "environment", "show", "other").splitlines()[-2] == "other"
    assert "No environments to resolve, use --force" in again
    refused = bed.flow("conda_versions_flow.py", "environment", "resolve", "--alias", "team/all:v1", code=1)
    assert "Cannot specify aliases: the steps have different environments" in refused
    bed.flow("conda_versions_flow.py", "environment", "resolve", "--alias", "team/other:v1", "other")
    assert "tabular==1.5.0" in bed.metaflow("environment", "show", "team/other:v1")


def test_a_step_with_a_gpu_that_gets_builds_for_cpus_is_told(bed: LocalBed) -> None:
    said = bed.flow("gpu_flow.py", "environment", "resolve", "start")
    assert "A GPU was asked for, but accelerated-1.0-cpu_0 is a build for CPUs only, since no __cuda was" in said
    assert "GPU was asked for" not in bed.flow("gpu_flow.py", "environment", "resolve", "end")


@pytest.mark.parametrize("words", [("environment", "resolve"), ("run",)], ids=["resolve", "run"])
def test_all_steps_whose_environments_cannot_be_are_told_at_once(bed: LocalBed, words: tuple[str, ...]) -> None:
    said = bed.flow("impossible_flow.py", *words, code=1)
    assert "Step 'start': " in said
    assert "Step 'end': " in said
    assert "tabular" in said
    assert "nobody-has-this" in said
    assert "'middle'" not in said


def test_the_runner_resolves_and_shows(bed: LocalBed) -> None:
    bed.flow("conda_versions_flow.py", "show")
    program = """
import json
from metaflow import FlowAPI
with FlowAPI('conda_versions_flow.py', show_output=False, environment='conda', pylint=False) as runner:
    resolved = runner.environment().resolve('other', dry_run=True, force=True)
    shown = runner.environment().show()
environment, new = resolved['other']['linux-64']
print('VALUE', json.dumps([new, environment.env_type.value, environment.env_type,
                           sorted(map(str, environment.deps))[-1],
                           [p.package_version for p in environment.packages if p.package_name == 'tabular'],
                           shown['end'].is_disabled, shown['other'].env.resolved_by, shown['other'].requested_hash]))
"""
    done = bed.run("-c", program)

    assert done.returncode == 0, done.stdout
    line = next(each for each in done.stdout.splitlines() if each.startswith("VALUE"))
    new, kind, same, deps, versions, disabled, by, req_id = json.loads(line.removeprefix("VALUE "))
    assert (new, kind, same, versions, disabled, by) == (True, "conda-only", "conda-only", ["1.5.0"], True, "tester")
    assert deps.startswith("sys::__glibc==")
    assert len(req_id) == 40


def test_a_task_whose_environment_cannot_be_made_says_why(bed: LocalBed) -> None:
    bed.flow("pypi_versions_flow.py", "environment", "resolve")
    places = bed.directory.parent / "other-cache"
    places.mkdir(mode=0o755)
    (places / "envs").write_text("in the way")  # what should be a directory

    failed = bed.flow(
        "conda_versions_flow.py",
        "run",
        code=1,
        variables={"ASYNCCACHE_ENVIRONMENTS_DIR": str(places / "envs")},
    )

    assert "The environment of this task could not be made" in failed


def test_only_this_flows_environments_travel_with_the_code(bed: LocalBed) -> None:
    archive = bed.directory / "package.tar"
    bed.flow("conda_versions_flow.py", "package", "save", str(archive))

    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
        file = tar.extractfile(".mf_meta/conda_v2.cnd")
        assert file is not None
        manifest = json.load(file)
    assert ".mf_meta/asynccache.json" in names
    assert ".mf_code/asynccache/boot/__main__.py" in names
    assert ".mf_code/metaflow_extensions/netflixext/plugins/conda/remote_bootstrap.py" in names
    found = [full for requests in manifest["environments"].values() for full in requests.values()]
    assert len(found) == 2
