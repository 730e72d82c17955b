"""`metaflow environment`: outputs in the contract's shape, and what each wrong use is told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metaflow.local import START, LocalBed, local_bed
from tests.support.command_line import items_of

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, pytest.mark.xdist_group("flows")]
TWELVE = 12


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBed]:
    with local_bed(tmp_path_factory.mktemp("commands")) as found:
        (found.directory / "tabular.yml").write_text("dependencies:\n  - tabular=1.4.0\n")
        (found.directory / "more.txt").write_text("frames==1.5.0\n")
        (found.directory / "pyproject.toml").write_text("[project]\ndependencies = []\n")
        found.metaflow("environment", "resolve", "-f", "tabular.yml", "--python", "3.12.*", "--alias", "team/base:v1")
        yield found


def quiet_lines(said: str) -> list[str]:
    return [line for line in said.splitlines() if line and not line.startswith("Metaflow (")]


def test_resolve_prints_the_long_form_and_knows_the_request_again(bed: LocalBed) -> None:
    words = ("environment", "resolve", "-f", "tabular.yml", "--python", "3.12.*")
    said = bed.metaflow(*words, "--force", "--alias", "team/again")

    assert "Resolving 1 environment ..." in said
    assert "done in " in said
    lines = said.splitlines()
    start = lines.index("### Environment for architecture linux-64")
    assert lines[start + 1].startswith("DEFAULT Environment of type conda-only full hash ")
    assert lines[start + 2].startswith("Aliases ")
    assert "team/again:latest (mutable)" in lines[start + 2]
    assert lines[start + 3 : start + 6] == ["Arch linux-64", "Available on linux-64", ""]
    assert lines[start + 6].startswith("Resolved on ")
    assert lines[start + 7 : start + 9] == ["Resolved by tester", ""]
    assert any(line.startswith("User-requested packages sys::__glibc==") for line in lines[start:])
    assert any(line.startswith("Conda Packages installed arrays") or "tabular==1.4.0" in line for line in lines)
    again = bed.metaflow(*words).splitlines()
    assert not any("Resolving" in line for line in again)
    assert again[again.index("### Environment for architecture linux-64") + 1] == lines[start + 1]
    name, line = quiet_lines(bed.metaflow("environment", "--quiet", *words[1:]))
    assert name == "linux-64"
    assert ":".join(line.split(" ")[:2]) == lines[start + 1].rpartition(" ")[2]


def test_the_quiet_form_has_twelve_fields(bed: LocalBed) -> None:
    name, line = quiet_lines(bed.metaflow("environment", "--quiet", "show", "team/base:v1"))

    assert name == "team/base:v1@linux-64"
    fields = line.split(" ")
    assert len(fields) == TWELVE
    assert [len(fields[0]), len(fields[1]), fields[3], fields[5], fields[6]] == [
        40,
        40,
        "linux-64",
        "tester",
        "linux-64",
    ]
    assert fields[9].startswith("conda:")
    assert fields[10:] == ["pypi:", "NONE"]
    missing = quiet_lines(bed.metaflow("env", "--quiet", "show", "team/nothing"))
    assert missing == ["team/nothing@linux-64", "NOT_FOUND"]
    assert "### Environment for 'team/nothing' (arch 'linux-64') was not found" in bed.metaflow(
        "environment", "show", "team/nothing"
    )


def test_the_quiet_form_of_get_is_one_line_and_names_that_move_come_last(bed: LocalBed) -> None:
    bed.metaflow("environment", "alias", "team/base:v1", "team/a:latest")
    (line,) = quiet_lines(bed.metaflow("environment", "--quiet", "--datastore", "spin", "get", "team/base:v1"))
    names = line.split(" ")[2].split(",")
    assert names[0] == "team/base:v1"
    assert "team/a:latest(m)" in names
    assert [name.endswith("(m)") for name in names] == sorted(name.endswith("(m)") for name in names)


def test_an_environment_is_extended_named_and_created(bed: LocalBed) -> None:
    bed.metaflow("environment", "resolve", "-r", "more.txt", "--using", "team/base:v1", "--alias", "team/more:v1")
    said = bed.metaflow("environment", "create", "--name", "more", "team/more:v1")
    assert "Conda environment 'more' created locally, activate with" in said
    again = bed.metaflow("environment", "--quiet", "create", "--name", "more", "--exist-ok", "team/more:v1")
    python = next(line for line in again.splitlines() if "/bin/python" in line)
    done = bed.run("-c", f"import subprocess; subprocess.run([{python!r}, '-c', 'import frames, tabular; "
                   "print(frames.VERSION, tabular.VERSION)'], check=True)")  # fmt: skip
    assert "1.5.0 1.4.0" in done.stdout
    _, line = quiet_lines(bed.metaflow("environment", "--quiet", "show", "team/more:v1"))
    assert line.split(" ")[-1] == "more"
    assert "\nLocally present as more\n" in bed.metaflow("environment", "show", "team/more:v1")
    lines = bed.metaflow("environment", "create", "--name", "more", "--exist-ok", "team/more:v1").splitlines()
    assert [line.split("'")[2][:25] for line in lines if "'" in line] == [
        " already created and vali",
        " created locally, activat",
    ]
    refused = bed.metaflow("environment", "create", "--name", "more", "team/base:v1", code=1)
    assert "'more' exists already and is another environment; use --force" in refused
    assert Path(python).exists()


def test_a_name_that_does_not_move_stays(bed: LocalBed) -> None:
    bed.metaflow("environment", "resolve", "-f", "tabular.yml", "--python", "3.9.*", "--alias", "team/nine:v1")

    refused = bed.metaflow("environment", "alias", "team/nine:v1", "team/base:v1", code=1)

    assert "team/base:v1" in refused
    assert "Traceback" not in refused
    assert "is known as team/moves" in bed.metaflow("environment", "alias", "team/nine:v1", "team/moves")
    assert "DEFAULT Environment of type" in bed.metaflow("environment", "get", "team/moves")


def test_lists_comparisons_and_settings_are_those_of_the_same_store(bed: LocalBed) -> None:
    listed = bed.metaflow("env", "ls", "--json", "team/base*")
    rows = items_of("\n".join(line for line in listed.splitlines() if line.startswith("{")))
    assert [row["arch"] for row in rows] == ["linux-64"]
    assert "tabular" in bed.metaflow("env", "show", "team/base:v1")
    assert "cache_dir" in bed.metaflow("environment", "config")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("resolve",), 2, "there is nothing to resolve"),
        (
            ("resolve", "-r", "more.txt", "--using", "a", "--python", "3.9"),
            2,
            "--python and --using exclude each other",
        ),
        (("resolve", "--from", "a", "--python", "3.9"), 2, "--python and --from exclude each other"),
        (("resolve", "--using", "a", "--using-pathspec", "F/1/s"), 2, "--using and --using-pathspec exclude"),
        (("resolve", "--from", "a", "--from-pathspec", "F/1/s"), 2, "--from and --from-pathspec exclude"),
        (("resolve", "--using", "a", "--from", "b"), 2, "--using and --from exclude each other"),
        (("resolve", "--from", "a", "-r", "more.txt"), 2, "--from takes its requirements from an environment"),
        (("resolve", "-r", "more.txt", "-f", "tabular.yml", "-p", "pyproject.toml"), 2, "exclude each other"),
        (("resolve", "-r", "more.txt", "--using", "team/none:v1"), 1, "team/none:v1"),
        (("resolve", "-r", "more.txt", "--using", "team/base:v1", "--arch", "osx-arm64"), 1, "osx-arm64"),
        (("resolve", "-r", "missing.txt"), 2, "'missing.txt' does not exist"),
        (("show", "--pathspec", "NoFlow/1/start"), 1, "no run is known as NoFlow/1/start"),
        (("get", "team/none:v1"), 1, "no environment is known as team/none:v1"),
        (("create", "Flow/1/step"), 2, "--pathspec says that ENV is Flow/Run/Step"),
        (("create", "--pathspec", "team/base:v1"), 2, "--pathspec says that ENV is Flow/Run/Step"),
        (("create", "--install-notebook", "team/base:v1"), 2, "--install-notebook requires --name"),
        (("create", "team/none:v1"), 1, "Environment 'team/none:v1' does not exist"),
        (("alias", "team/none:v1", "team/b"), 1, "no environment is known as team/none:v1"),
    ],
)
def test_wrong_uses_are_told_in_a_sentence(bed: LocalBed, words: tuple[str, ...], code: int, message: str) -> None:
    said = bed.metaflow("environment", *words, code=code)

    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CONDA_DEPENDENCY_RESOLVER", "apt", "must be set to one of ['mamba', 'conda', 'micromamba', 'rattler']"),
        ("CONDA_PYPI_DEPENDENCY_RESOLVER", "poetry", "must be set to one of ['uv', 'pip', 'none']"),
        ("CONDA_MIXED_DEPENDENCY_RESOLVER", "x", "must be set to one of ['conda-lock', 'builtin', 'none']"),
        ("CONDA_PREFERRED_FORMAT", ".zip", "must be set to one of ['.conda', '.tar.bz2', 'none']"),
        ("CONDA_PACK", "sometimes", "must be set to one of ['auto', 'always', 'never']"),
        ("PYLOCK_TOML_DEPENDENCY_RESOLVER", "pip", "must be set to one of ['pylock_toml']"),
        ("CONDA_SYS_MARKERS", "[1]", "CONDA_SYS_MARKERS must be a JSON object of objects of texts. Got '[1]'."),
        ("CONDA_USE_REMOTE_LATEST", ":all:", "must be set to one of [':none:', ':username:', ':any:']"),
        ("CONDA_USE_REMOTE_LATEST", "", "must be set to one of"),
        ("CONDA_LOCK_TIMEOUT", "soon", "METAFLOW_CONDA_LOCK_TIMEOUT must be a number of at least 0. Got 'soon'."),
        ("CONDA_REMOTE_COMMANDS", "batch", "METAFLOW_CONDA_REMOTE_COMMANDS must be a JSON list of texts. Got 'batch'."),
    ],
)
def test_a_setting_that_cannot_be_is_told_with_what_can(bed: LocalBed, variable: str, value: str, message: str) -> None:
    program = "from metaflow import metaflow_config; print(*metaflow_config.CONDA_REFUSED.values())"
    done = bed.run("-c", program, variables={f"METAFLOW_{variable}": value})

    assert done.returncode == 0
    assert message in done.stdout
    assert f"METAFLOW_{variable}" in done.stdout


def test_a_mistyped_choice_is_one_sentence_of_a_command(bed: LocalBed) -> None:
    words = ("-c", START, "environment", "show", "team/base:v1")
    done = bed.run(*words, variables={"METAFLOW_CONDA_PREFERRED_FORMAT": ".zip"})

    assert done.returncode == 1
    expected = (
        "Error: METAFLOW_CONDA_PREFERRED_FORMAT must be set to one of ['.conda', '.tar.bz2', 'none']. Got '.zip'."
    )
    assert done.stdout.splitlines()[-1] == expected


def test_settings_come_from_the_users_file_also_without_the_prefix(bed: LocalBed) -> None:
    home = bed.directory / "configured"
    home.mkdir()
    keys = {"CONDA_ENVS_DIRNAME": "bare", "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER": None}
    (home / "config.json").write_text(json.dumps(keys))
    program = (
        "from metaflow import metaflow_config as c;"
        " print('VALUE', c.CONDA_ENVS_DIRNAME, c.CONDA_PYPI_DEPENDENCY_RESOLVER, c.CONDA_BARE_KEYS,"
        " c.CONDA_LOCK_TIMEOUT)"
    )
    done = bed.run("-c", program, variables={"METAFLOW_HOME": str(home)})

    assert "VALUE bare none ['CONDA_ENVS_DIRNAME'] 3600" in done.stdout


def test_programs_find_name_make_and_fetch_environments_by_hand_under_the_names_they_know(bed: LocalBed) -> None:
    program = """
import json, os
import metaflow
from metaflow_extensions.netflixext.plugins.conda.conda import Conda
conda = Conda(lambda *words, **options: None, 'local')
env_id = conda.env_id_from_alias('team/base:v1')
env = conda.environment(env_id)
assert conda.environment(env_id, local_only=True).to_dict() == env.to_dict()
assert conda.environment((env_id.req_id, '_default', env_id.arch)).env_id == env_id
assert (conda.env_id_from_alias('team/nothing'), conda.environment(('0' * 40, '1' * 40, env_id.arch))) == (None, None)
assert conda.created_environment(env_id) is None
conda.alias_environment(env_id, ['team/by-hand:v1', 'team/by-hand'])
stay, move = conda.aliases_for_env_id(env_id)
prefix = conda.create_for_step('start', env, do_symlink=True)
assert conda.created_environment(env_id) == (env_id, prefix)
named = conda.create_for_name('by-hand', env)
archives = [package for package in env.packages if package.package_name == 'tabular']
conda.lazy_fetch_packages(archives, None, 'archives')
said = conda.call_binary(['-c', 'echo $ONE'], 'sh', addl_env={'ONE': 'two'})
print('VALUE', json.dumps([os.path.realpath('__conda_python'), prefix, os.path.exists(named + '/.metaflowenv'),
    [[os.path.exists(path), package.pkg_hash(fmt)] for package in archives for fmt, path in package.local_files],
    [env_id for env_id, each in conda.environments(env_id.req_id)] == [env_id], stay, move, said.decode(),
    conda.storage.TYPE]))
"""
    done = bed.run("-c", program)

    assert done.returncode == 0, done.stdout
    line = next(each for each in done.stdout.splitlines() if each.startswith("VALUE"))
    python, prefix, named, archives, same, stay, move, said, storage = json.loads(line.removeprefix("VALUE "))
    assert python.startswith(f"{prefix}/bin/python")
    assert (named, same, said, storage) == (True, True, "two\n", "local")
    assert [there for there, _digest in archives] == [True]
    assert "team/by-hand/v1" in stay
    assert "team/by-hand/latest" in move
