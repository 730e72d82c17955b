"""What the five pages for users of Metaflow's other extension promise, and what shows that it holds here.

A table in our own words: the page and its lines, what stands there, and what shows it. `test_user_documents.py` checks
every row, and that no option, setting, argument, command or message of the pages is without one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Default:
    """A setting's value in `metaflow.metaflow_config` when nothing is said."""

    name: str
    value: Any


@dataclass(frozen=True)
class Given:
    """What `metaflow.metaflow_config` makes of a variable's text."""

    name: str
    text: str
    value: Any = None  # None: the text
    reads: str = ""  # another name whose value is meant


@dataclass(frozen=True)
class Parsed:
    """A command that click's parsers take, and what of it they understand."""

    line: str
    found: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Asks:
    """What a decorator asks for."""

    code: str
    found: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Reads:
    """What the reader of a kind of file makes of a text."""

    kind: str
    text: str
    found: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Test:
    """A test that shows it."""

    __test__ = False
    name: str


@dataclass(frozen=True)
class Differs:
    """A row of the table of differences in docs/migrating.md."""

    what: str


Shown = Default | Given | Parsed | Asks | Reads | Test | Differs


@dataclass(frozen=True)
class Promise:
    """A row: page, first and last line, what stands there, what shows it."""

    page: str
    first: int
    last: int
    says: str
    shown: tuple[Shown, ...]


def _rows(page: str, *rows: tuple[int, int, str, tuple[Shown, ...] | Shown]) -> list[Promise]:
    return [
        Promise(page, first, last, says, shown if isinstance(shown, tuple) else (shown,))
        for first, last, says, shown in rows
    ]


_FLOWS = "tests/metaflow/test_flows.py::"
_COMMANDS = "tests/metaflow/test_environment_commands.py::"
_FIXED_NAME = Test(_COMMANDS + "test_a_name_that_does_not_move_stays")
_LONG_FORM = Test(_COMMANDS + "test_resolve_prints_the_long_form_and_knows_the_request_again")
_NAMED = Test(_FLOWS + "test_environments_are_used_by_name_extended_and_by_the_step_that_had_them")
_REUSED = Test(_FLOWS + "test_steps_have_their_own_conda_packages_and_pythons_and_a_second_run_reuses_them")
_PYPI = Test(_FLOWS + "test_steps_have_their_own_pypi_packages_also_beside_conda_ones")
_OLD_FORMS = Test(_FLOWS + "test_old_forms_work_and_say_once_what_to_write")
_NOTICES = Test(
    "tests/metaflow/test_decorators.py::test_each_deprecated_argument_is_told_once_with_what_to_write_instead"
)
_REFUSED_VALUE = Test(_COMMANDS + "test_a_setting_that_cannot_be_is_told_with_what_can")
_BARE_KEYS = Test(_COMMANDS + "test_settings_come_from_the_users_file_also_without_the_prefix")
_ALL_FRONTS = Test("tests/config/test_fronts.py::test_all_fronts_make_the_same_of_each_configuration")
_USERS = Test("tests/catalog/test_lookup.py::test_the_latest_resolution_of_an_allowed_user_is_taken")
_LOCAL_FIRST = Test("tests/catalog/test_lookup.py::test_this_machines_default_comes_before_anything_in_the_store")
_FROM_STORE = Test("tests/ops/test_catalog.py::test_getting_an_environment_takes_those_resolved_together_and_its_name")
_ANY_ID = Test("tests/catalog/test_lookup.py::test_an_environment_is_found_by_name_by_ids_and_by_full_id")
_KEPT = Test("tests/cli/test_resolve_pypi.py::test_what_is_added_to_a_base_keeps_every_package_of_it")
_TOGETHER = Test("tests/ops/test_resolve.py::test_architectures_that_are_asked_for_together_share_one_id_and_one_name")
_TRANSMUTED = Test("tests/ops/test_backfill.py::test_every_package_gets_the_wanted_form_from_the_store_alone")
_INSTALLED = Test("tests/metaflow/test_install.py::test_a_wheel_takes_the_place_of_what_metaflow_brings")
_REMOVED = Test("tests/metaflow/test_install.py::test_removed_it_leaves_what_metaflow_brings")
_ON_BATCH = Test("tests/metaflow/test_remote_batch.py::test_a_flow_runs_on_batch_with_an_environment_for_each_step")
_ON_NODES = Test(
    "tests/metaflow/test_remote_packages.py::test_a_node_makes_its_environment_from_packages_where_nothing_is_packed"
)
_LOCAL_DIST = Test("tests/ops/test_local_distribution.py::test_it_is_unpacked_marked_and_found")
_PROGRAM = Test("tests/resolve/test_choose.py::test_a_program_that_was_asked_for_is_taken_or_missed")
_MAMBA_FIRST = Test("tests/resolve/test_choose.py::test_with_nothing_set_mamba_is_taken_where_it_is_found")
_NONE = Test("tests/resolve/test_choose.py::test_none_refuses_the_type")
_CONDA_LOCK = Test("tests/resolve/test_choose.py::test_conda_lock_is_taken_where_it_can_work")
_NO_CONDA_LOCK = Test("tests/resolve/test_choose.py::test_conda_lock_when_asked_for_misses_what_it_needs")
_ON_ARGO = Test(
    "tests/metaflow/test_remote_workflows.py::"
    "test_an_argo_workflow_runs_although_its_store_was_collected_long_after_it_was_deployed"
)
_ACROSS = Test(
    "tests/resolve/pypi/test_uv_resolver.py::test_sources_and_local_files_are_refused_for_another_architecture"
)
_MIXED_LOCAL = Test("tests/resolve/test_mixed.py::test_local_packages_are_refused")
_DEBUG = Test("tests/metaflow/test_debug_command.py::test_what_steps_ask_for_and_get_is_told_when_debugging_is_on")
_LOCK = Test("tests/runtime/test_locks.py::test_giving_up_names_the_holder_and_what_to_do")
_LOGINS = Test(
    "tests/resolve/pypi/test_uv_resolver.py::test_credentials_come_from_the_settings_and_are_nowhere_in_the_result"
)
_AZURE = Test(
    "tests/cli/test_azure.py::test_it_is_resolved_cached_packed_verified_converted_and_made_on_another_machine"
)
_GOOGLE = Test(
    "tests/cli/test_google.py::test_it_is_resolved_cached_packed_verified_converted_and_made_on_another_machine"
)
_NO_PROGRAMS = Differs("Programs to install")

PROMISES = [
    *_rows(
        "overview.txt",
        (5, 5, "steps with packages of their own run on Batch, Argo, Airflow and Step Functions",
         (_ON_BATCH, _ON_ARGO,
          Test("tests/metaflow/test_remote_workflows.py::test_an_airflow_dag_runs"),
          Test("tests/metaflow/test_remote_workflows.py::"
               "test_a_state_machine_runs_and_its_jobs_are_of_a_size_that_batch_takes"))),
        (7, 10, "conda and PyPI packages in one environment, or one kind alone", (_PYPI, _REUSED)),
        (9, 9, "PyPI packages from other indexes, repositories, source archives",
         Test("tests/cli/test_resolve_sources.py::test_an_sdist_is_built_stored_beside_its_source_and_found_again")),
        (12, 12, "an environment of a past step is had again",
         Test("tests/cli/test_env.py::test_the_step_of_a_run_leads_to_its_environment")),
        (13, 14, "requirements.txt and environment.yml are resolved; packages are listed", _LONG_FORM),
        (16, 18, "names like Docker's tags, shared by flows and people", (_NAMED, _FROM_STORE)),
        (20, 20, "several environments are resolved and fetched at once",
         Test("tests/ops/test_resolve.py::test_ten_environments_are_solved_at_once_and_cached_while_others_are_solved")),
        (21, 22, "packages as .conda and .tar.bz2, either made of the other", _TRANSMUTED),
        (22, 22, "a cache on S3, Azure, Google Cloud",
         (Test("tests/store/test_open.py::test_an_s3_root_is_an_s3_store"), _AZURE, _GOOGLE)),
        (24, 26, "conda, mamba, micromamba; pip or uv; conda-lock", (_PROGRAM, _NONE, _CONDA_LOCK)),
        (28, 31, "resolving, caching and hydrating are apart",
         Test("tests/ops/test_resolve.py::test_what_is_found_is_cached_published_remembered_and_named")),
        (32, 35, "resolving is done on this machine and gives pinned versions",
         Test("tests/ops/test_resolve.py::test_a_dry_run_writes_nothing")),
        (36, 41, "two ids, of the request and of its packages, name it metaflow_REQ_FULL",
         Test("tests/node/test_environments.py::test_names_are_those_of_the_contract")),
        (41, 42, "one request may have several resolutions",
         Test("tests/ops/test_resolve.py::test_force_solves_again_and_finds_the_stored_document")),
        (44, 46, "a step's environment is made here, also as a Jupyter kernel",
         (Test("tests/cli/test_hydrate.py::test_kernels_have_the_names_that_the_contract_says"),
          Test("tests/metaflow/test_debug_command.py::test_a_notebook_runs_a_step_again_in_the_environment_of_its_task"))),
        (48, 50, "here, elsewhere and among people the environment is the same", (_ON_BATCH, _FROM_STORE)),
        (52, 54, "resolved for linux-64, osx-64 and osx-arm64 on either", _TOGETHER),
        (69, 70, "PyPI packages alone, or with conda's", _PYPI),
    ),
    *_rows(
        "configuration.txt",
        (2, 2, "every option is a variable METAFLOW_...", _ALL_FRONTS),
        (8, 13, "CONDA_S3ROOT, by default conda_env below DATASTORE_SYSROOT_S3",
         (Default("CONDA_S3ROOT", "s3://sys/conda_env"), Given("CONDA_S3ROOT", "s3://my-bucket/conda-cache"))),
        (14, 14, "its prefix is not that of Metaflow's own conda",
         Given("CONDA_PACKAGE_S3ROOT", "s3://my-bucket/conda", "s3://sys/conda_env", reads="CONDA_S3ROOT")),
        (16, 24, "CONDA_AZUREROOT, by default below DATASTORE_SYSROOT_AZURE; container and role by hand",
         (Default("CONDA_AZUREROOT", "sys/conda_env"),
          Given("CONDA_AZUREROOT", "az://my-container/conda-cache"), _AZURE)),
        (26, 31, "CONDA_GSROOT, by default below DATASTORE_SYSROOT_GS",
         (Default("CONDA_GSROOT", "gs://sys/conda_env"), Given("CONDA_GSROOT", "gs://my-bucket/conda-cache"), _GOOGLE)),
        (33, 38, "CONDA_LOCALROOT, by default below DATASTORE_SYSROOT_LOCAL",
         (Default("CONDA_LOCALROOT", "{home}/conda_env"), Given("CONDA_LOCALROOT", "/data/conda-cache"))),
        (40, 45, "CONDA_PACKAGES_DIRNAME",
         (Default("CONDA_PACKAGES_DIRNAME", "packages"), Given("CONDA_PACKAGES_DIRNAME", "pkgs"))),
        (47, 52, "CONDA_ENVS_DIRNAME",
         (Default("CONDA_ENVS_DIRNAME", "envs"), Given("CONDA_ENVS_DIRNAME", "environments"))),
        (58, 67, "CONDA_DEPENDENCY_RESOLVER: mamba, conda or micromamba; mamba to be installed",
         (Default("CONDA_DEPENDENCY_RESOLVER", "mamba"), *(Given("CONDA_DEPENDENCY_RESOLVER", name)
          for name in ("mamba", "conda", "micromamba")), _MAMBA_FIRST, _PROGRAM, Differs("No mamba"), _NO_PROGRAMS)),
        (69, 76, "CONDA_PYPI_DEPENDENCY_RESOLVER: pip, uv, none; none refuses environments of PyPI packages",
         (Default("CONDA_PYPI_DEPENDENCY_RESOLVER", "uv"), *(Given("CONDA_PYPI_DEPENDENCY_RESOLVER", name)
          for name in ("pip", "uv", "none")), _NONE)),
        (78, 85, "CONDA_MIXED_DEPENDENCY_RESOLVER: conda-lock, none; none refuses mixed environments",
         (Default("CONDA_MIXED_DEPENDENCY_RESOLVER", "conda-lock"), *(Given("CONDA_MIXED_DEPENDENCY_RESOLVER", name)
          for name in ("conda-lock", "none")), _NONE, Differs("No conda-lock"))),
        (89, 96, "CONDA_PREFERRED_FORMAT: .tar.bz2, .conda, none; packages in other formats are transmuted",
         (Default("CONDA_PREFERRED_FORMAT", "none"), *(Given("CONDA_PREFERRED_FORMAT", name)
          for name in (".tar.bz2", ".conda", "none")), _TRANSMUTED, _NO_PROGRAMS)),
        (98, 104, "CONDA_LOCK_TIMEOUT in seconds, after which waiting for a lock ends",
         (Default("CONDA_LOCK_TIMEOUT", 3600), Given("CONDA_LOCK_TIMEOUT", "300", 300), _LOCK)),
        (108, 114, "CONDA_REMOTE_INSTALLER_DIRNAME, a directory of micromambas for nodes; else the latest one",
         (Default("CONDA_REMOTE_INSTALLER_DIRNAME", None), Given("CONDA_REMOTE_INSTALLER_DIRNAME", "conda-remote"),
          _ON_NODES, Differs("micromamba on nodes"))),
        (116, 121, "CONDA_REMOTE_INSTALLER, a file name with {arch} in CONDA_REMOTE_INSTALLER_DIRNAME",
         (Default("CONDA_REMOTE_INSTALLER", None), Given("CONDA_REMOTE_INSTALLER", "micromamba-{arch}"), _ON_NODES,
          Differs("micromamba on nodes"))),
        (123, 128, "CONDA_REMOTE_COMMANDS, decorators whose steps run elsewhere",
         (Default("CONDA_REMOTE_COMMANDS", ["batch", "kubernetes"]),
          Given("CONDA_REMOTE_COMMANDS", '["batch", "slurm"]', ["batch", "slurm"]),
          Test("tests/metaflow/test_decorators.py::"
               "test_steps_run_elsewhere_by_the_configured_commands_or_what_a_decorator_says_of_itself"))),
        (132, 138, "CONDA_LOCAL_DIST_DIRNAME, a directory of whole conda installations; unset, those of the machine",
         (Default("CONDA_LOCAL_DIST_DIRNAME", None), Given("CONDA_LOCAL_DIST_DIRNAME", "conda-local"), _LOCAL_DIST,
          Test("tests/resolve/conda/test_find_programs.py::test_path_is_searched_in_its_order"))),
        (140, 145, "CONDA_LOCAL_DIST, a tarball's name with {arch} in CONDA_LOCAL_DIST_DIRNAME",
         (Default("CONDA_LOCAL_DIST", None), Given("CONDA_LOCAL_DIST", "conda-{arch}.tgz"), _LOCAL_DIST)),
        (147, 152, "CONDA_LOCAL_PATH, where the tarball of CONDA_LOCAL_DIST is unpacked when nothing is there",
         (Default("CONDA_LOCAL_PATH", None),
          Given("CONDA_LOCAL_PATH", "/usr/local/libexec/metaflow-conda"), _LOCAL_DIST)),
        (156, 161, "CONDA_DEFAULT_PYPI_SOURCE, a mirror of PyPI",
         (Default("CONDA_DEFAULT_PYPI_SOURCE", None),
          Given("CONDA_DEFAULT_PYPI_SOURCE", "https://pypi.mycompany.com/simple"), _PYPI)),
        (163, 168, "CONDA_SRCS_AUTH_INFO, host to user and password",
         (Default("CONDA_SRCS_AUTH_INFO", {}),
          Given("CONDA_SRCS_AUTH_INFO", '{"pypi.mycompany.com": ["user", "pass"]}',
                {"pypi.mycompany.com": ["user", "pass"]}),
          _LOGINS)),
        (169, 169, "logins also come from .netrc and pip.conf",
         Test("tests/cli/test_resolve_pypi.py::test_credentials_come_from_where_people_keep_them_and_go_nowhere")),
        (173, 180, "CONDA_USE_REMOTE_LATEST: :none:, :username:, :any: or users; by default nothing of the store",
         (Default("CONDA_USE_REMOTE_LATEST", ":none:"), *(Given("CONDA_USE_REMOTE_LATEST", text)
          for text in (":none:", ":username:", ":any:", "ann,ben")), _USERS)),
        (184, 189, "CONDA_SYS_DEFAULT_PACKAGES",
         (Default("CONDA_SYS_DEFAULT_PACKAGES", {"linux-64": {"__glibc": "2.27"}}),
          Given("CONDA_SYS_DEFAULT_PACKAGES", '{"linux-64": {"__glibc": "2.28"}}', {"linux-64": {"__glibc": "2.28"}}))),
        (191, 196, "CONDA_SYS_DEFAULT_GPU_PACKAGES",
         (Default("CONDA_SYS_DEFAULT_GPU_PACKAGES", {}),
          Given("CONDA_SYS_DEFAULT_GPU_PACKAGES", '{"__cuda": "11.8=0"}', {"__cuda": "11.8=0"}),
          Test("tests/resolve/requests/test_virtual_packages.py::test_a_gpu_lays_its_packages_over_the_defaults"))),
        (198, 203, "CONDA_BUILDER_ENV_PACKAGES; Google's keyring where GOOGLE_APPLICATION_CREDENTIALS is set",
         (Default("CONDA_BUILDER_ENV_PACKAGES", []),
          Given("CONDA_BUILDER_ENV_PACKAGES", '["keyrings.google-artifactregistry-auth"]',
                ["keyrings.google-artifactregistry-auth"]),
          Given("GOOGLE_APPLICATION_CREDENTIALS", "/key.json", ["keyrings.google-artifactregistry-auth"],
                reads="CONDA_BUILDER_ENV_PACKAGES"))),
        (207, 212, "CONDA_ALL_ARCHS",
         (Default("CONDA_ALL_ARCHS", ["linux-64", "osx-64", "osx-arm64"]),
          Given("CONDA_ALL_ARCHS", '["linux-64", "osx-arm64"]', ["linux-64", "osx-arm64"]))),
        (216, 223, "DEBUG_CONDA tells in detail what is done",
         (Parsed("python myflow.py --environment=conda run"), _DEBUG)),
        (225, 230, "CONDA_TEST, for tests of the extension",
         (Default("CONDA_TEST", False), Given("CONDA_TEST", "1", True), Differs("CONDA_TEST"))),
        (234, 263, ("profiles: CONDA_DEPENDENCY_RESOLVER, CONDA_PYPI_DEPENDENCY_RESOLVER, CONDA_PREFERRED_FORMAT,"
         " CONDA_USE_REMOTE_LATEST, CONDA_DEFAULT_PYPI_SOURCE and CONDA_SRCS_AUTH_INFO together"),
         (Given("CONDA_DEPENDENCY_RESOLVER", "micromamba"), Given("CONDA_PYPI_DEPENDENCY_RESOLVER", "pip"),
          Given("CONDA_PREFERRED_FORMAT", ".conda"), Given("CONDA_USE_REMOTE_LATEST", ":any:"),
          Given("CONDA_DEFAULT_PYPI_SOURCE", "https://pypi.mycompany.com/simple"), _ALL_FRONTS)),
        (267, 277, ("Metaflow's config.json holds CONDA_S3ROOT, CONDA_DEPENDENCY_RESOLVER, CONDA_PREFERRED_FORMAT and"
         " CONDA_USE_REMOTE_LATEST, without METAFLOW_"), (_BARE_KEYS, _ALL_FRONTS)),
        (281, 281, "for Metaflow before 2.10 a file of the extension is edited", Differs("Older Metaflow and Python")),
        (285, 293, ("CONDA_S3ROOT, CONDA_DEPENDENCY_RESOLVER, CONDA_PYPI_DEPENDENCY_RESOLVER,"
         " CONDA_MIXED_DEPENDENCY_RESOLVER, CONDA_PREFERRED_FORMAT and CONDA_USE_REMOTE_LATEST are names of"
         " metaflow_config"),
         (Default("CONDA_S3ROOT", "s3://sys/conda_env"), Default("CONDA_DEPENDENCY_RESOLVER", "mamba"),
          Default("CONDA_PYPI_DEPENDENCY_RESOLVER", "uv"), Default("CONDA_MIXED_DEPENDENCY_RESOLVER", "conda-lock"),
          Default("CONDA_PREFERRED_FORMAT", "none"), Default("CONDA_USE_REMOTE_LATEST", ":none:"))),
    ),
    *_rows(
        "installation.txt",
        (5, 8, "Metaflow 2.16.0, Python 3.7 to 3.13, Linux and macOS",
         (Test("tests/metaflow/test_step_imports.py::test_every_python_of_a_step_imports_it"),
          Differs("Older Metaflow and Python"))),
        (14, 18, "one package is installed, and Metaflow finds it: pip install metaflow-netflixext",
         (_INSTALLED, Differs("Installing and removing"))),
        (22, 24, "python -c with an import of Metaflow shows that it is there", _INSTALLED),
        (28, 28, "variables and keys have METAFLOW_ in front", _ALL_FRONTS),
        (32, 32, "before Metaflow 2.10 settings are in the file alone", Differs("Older Metaflow and Python")),
        (34, 45, "CONDA_S3ROOT, CONDA_AZUREROOT (azure://) and CONDA_GSROOT, apart from Metaflow's own conda",
         (Given("CONDA_S3ROOT", "s3://my-bucket/conda_env"),
          Given("CONDA_AZUREROOT", "azure://my-container/conda_env"), _AZURE, _GOOGLE)),
        (47, 63, ("CONDA_DEPENDENCY_RESOLVER, CONDA_PYPI_DEPENDENCY_RESOLVER, CONDA_MIXED_DEPENDENCY_RESOLVER; none"
         " switches one off"),
         (Default("CONDA_DEPENDENCY_RESOLVER", "mamba"), Default("CONDA_PYPI_DEPENDENCY_RESOLVER", "uv"),
          Default("CONDA_MIXED_DEPENDENCY_RESOLVER", "conda-lock"), _NONE, _REFUSED_VALUE)),
        (65, 71, "CONDA_PACKAGES_DIRNAME and CONDA_ENVS_DIRNAME",
         (Default("CONDA_PACKAGES_DIRNAME", "packages"), Default("CONDA_ENVS_DIRNAME", "envs"))),
        (73, 80, "CONDA_REMOTE_INSTALLER_DIRNAME and CONDA_REMOTE_INSTALLER; else micromamba is downloaded",
         (Given("CONDA_REMOTE_INSTALLER_DIRNAME", "conda-remote"), Given("CONDA_REMOTE_INSTALLER", "micromamba-{arch}"),
          _ON_NODES, Differs("micromamba on nodes"))),
        (84, 89, "CONDA_PREFERRED_FORMAT; conversion wants a program",
         (Given("CONDA_PREFERRED_FORMAT", ".conda"), _TRANSMUTED, _NO_PROGRAMS)),
        (91, 99, "CONDA_USE_REMOTE_LATEST: what each value means",
         (Given("CONDA_USE_REMOTE_LATEST", ":username:"), Given("CONDA_USE_REMOTE_LATEST", "user1,user2"), _USERS,
          _LOCAL_FIRST)),
        (101, 107, "CONDA_DEFAULT_PYPI_SOURCE and CONDA_LOCK_TIMEOUT",
         (Given("CONDA_DEFAULT_PYPI_SOURCE", "https://pypi.org/simple"), Default("CONDA_LOCK_TIMEOUT", 3600))),
        (109, 119, "CONDA_LOCAL_DIST_DIRNAME, CONDA_LOCAL_DIST, CONDA_LOCAL_PATH; else conda of PATH",
         (Given("CONDA_LOCAL_DIST_DIRNAME", "conda-local"), Given("CONDA_LOCAL_DIST", "conda-{arch}.tgz"),
          Given("CONDA_LOCAL_PATH", "/usr/local/libexec/metaflow-conda"), _LOCAL_DIST)),
        (121, 134, "CONDA_SYS_DEFAULT_PACKAGES, CONDA_SYS_DEFAULT_GPU_PACKAGES and CONDA_ALL_ARCHS",
         (Default("CONDA_SYS_DEFAULT_PACKAGES", {"linux-64": {"__glibc": "2.27"}}),
          Given("CONDA_SYS_DEFAULT_GPU_PACKAGES", '{"__cuda": "11.8=0"}', {"__cuda": "11.8=0"}),
          Default("CONDA_ALL_ARCHS", ["linux-64", "osx-64", "osx-arm64"]))),
        (138, 155, ("Azure: the container of CONDA_AZUREROOT and a role are made with az (--name, --account-name,"
         " --role, --assignee, --scope)"),
         Test("tests/cli/test_azure.py::test_a_container_that_is_not_there_and_a_wrong_key_are_told_in_a_sentence")),
        (157, 176, "S3: Get, Put and List on CONDA_S3ROOT are all that is needed",
         (Test("tests/security/test_policies.py::test_the_policy_of_a_role_allows_every_call_of_its_commands"),
          Test("tests/store/test_s3.py::"
               "test_a_store_that_refuses_to_delete_is_published_to_and_keeps_one_probe_at_most"),
          Differs("Listing a bucket"))),
        (178, 183, "Google Cloud: a role is given with gcloud (--member, --role)",
         Test("tests/store/test_remote.py::test_who_may_not_is_told_so_without_the_text_of_the_service")),
        (185, 209, "conda, mamba, micromamba, pip, uv, conda-lock and conda-package-handling are installed by features",
         (Test("tests/metaflow/test_install.py::test_a_wheel_takes_the_place_of_what_metaflow_brings"), _NO_PROGRAMS)),
        (213, 217, "DEBUG_CONDA", (Parsed("python my_flow.py run"), _DEBUG)),
        (219, 224, "stale lock files are looked for and removed by hand, CONDA_LOCK_TIMEOUT is raised",
         (Given("CONDA_LOCK_TIMEOUT", "7200", 7200),
          Test("tests/node/test_lock_file.py::test_the_lock_of_a_dead_process_of_this_host_is_taken_over"),
          Differs("Stale lock files"))),
        (226, 228, "both formats in one environment want micromamba",
         (Test("tests/hydrate/test_hydrate.py::test_an_environment_runs_and_names_its_own_prefix"), _NO_PROGRAMS)),
        (230, 234, "pip uninstall brings Metaflow's own back", (_REMOVED, Differs("Installing and removing"))),
    ),
    *_rows(
        "migration.txt",
        (9, 17, "pip_packages, pip_sources, sources, name, pathspec and fetch_at_exec of @conda are old forms",
         (_NOTICES, _OLD_FORMS,
          Asks("made('conda', fetch_at_exec=True, name='team/e')", {"fetch_at_exec": True, "name": "team/e"}))),
        (21, 51, "@conda(libraries=...) of Metaflow's own means the same",
         (Asks("made('conda', libraries={'pandas': '1.4.0'})",
               {"packages": {"conda": {"pandas": "1.4.0"}, "pypi": {}}}), _REUSED)),
        (55, 63, "@conda(libraries, pip_packages, pip_sources), pip_packages as a list",
         (Asks("made('conda', libraries={'pandas': '1.4.0'}, pip_packages=['tensorflow==2.10.0'],"
               " pip_sources=['https://my-pypi.com/simple'])",
               {"packages": {"conda": {"pandas": "1.4.0"}, "pypi": {"tensorflow": "2.10"}},
                "sources": {"conda": [], "pypi": ["https://my-pypi.com/simple"]}}), _NOTICES)),
        (64, 83, "@pypi(packages, extra_indices) beside @conda(libraries) means the same",
         (Asks("made('pypi', packages={'tensorflow': '2.10.0'}, extra_indices=['https://my-pypi.com/simple'])",
               {"packages": {"pypi": {"tensorflow": "2.10"}, "npconda": {}},
                "sources": {"pypi": ["https://my-pypi.com/simple"]}}), _PYPI)),
        (86, 92, "pip_packages was a list, packages is a map",
         Asks("made('conda', pip_packages={'tensorflow': '2.10.0'})",
              {"packages": {"conda": {}, "pypi": {"tensorflow": "2.10"}}})),
        (94, 106, "@conda(libraries, sources) is @conda(libraries, channels)",
         (Asks("made('conda', libraries={'numpy': '1.21.5'}, sources=['conda-forge', 'defaults'])",
               {"sources": {"conda": ["conda-forge", "defaults"], "pypi": []}}),
          Asks("made('conda', libraries={'numpy': '1.21.5'}, channels=['conda-forge', 'defaults'])",
               {"sources": {"conda": ["conda-forge", "defaults"], "pypi": []}}), _NOTICES)),
        (108, 153, "@conda_base(libraries) is under every step; @conda(libraries) adds to it",
         (Asks("made('conda_base', libraries={'pandas': '1.4.0', 'numpy': '1.21.5'})",
               {"packages": {"conda": {"pandas": "1.4.0", "numpy": "1.21.5"}, "pypi": {}}}),
          Test("tests/metaflow/test_merge.py::test_a_step_replaces_what_its_flow_says_of_a_package_and_keeps_the_rest"))),
        (155, 170, "@conda(libraries, name) is @named_env(name)",
         (Asks("made('conda', libraries={'pandas': '1.4.0'}, name='my-team-env')", {"name": "my-team-env"}),
          Asks("made('named_env', name='my-team-env')", {"name": "my-team-env"}), _OLD_FORMS)),
        (172, 183, "@conda(pathspec) is @named_env(pathspec)",
         (Asks("made('conda', pathspec='MyFlow/123/train')", {"pathspec": "MyFlow/123/train"}),
          Asks("made('named_env', pathspec='MyFlow/123/train')", {"pathspec": "MyFlow/123/train"}), _NAMED)),
        (185, 193, "what Metaflow's own conda resolved is resolved again, and listed in conda_v2.cnd", (_REUSED,
         Test("tests/catalog/test_local.py::test_the_file_has_the_shape_that_other_programs_read"))),
        (195, 200, "the first run resolves and creates, each with a line; python myflow.py --environment=conda run",
         (Parsed("python myflow.py --environment=conda run"), _REUSED)),
        (202, 207, "the next one uses what there is, with --environment=conda, and says so",
         (Parsed("python myflow.py --environment=conda run"), _REUSED)),
        (209, 222, "CONDA_PACKAGE_S3ROOT is another one than CONDA_S3ROOT, CONDA_AZUREROOT and CONDA_GSROOT",
         (Given("CONDA_PACKAGE_S3ROOT", "s3://my-bucket/conda/", "s3://sys/conda_env", reads="CONDA_S3ROOT"),
          Given("CONDA_S3ROOT", "s3://my-bucket/conda-v2/"), Given("CONDA_AZUREROOT", "azure://my-container/conda-v2/"),
          Test("tests/model/test_root.py::test_roots_of_clouds_are_read_in_every_documented_form"), _AZURE, _GOOGLE)),
        (224, 242, ("config.json with comments: CONDA_S3ROOT, CONDA_DEPENDENCY_RESOLVER, CONDA_PYPI_DEPENDENCY_RESOLVER"
         " (null to switch it off), CONDA_MIXED_DEPENDENCY_RESOLVER, CONDA_PREFERRED_FORMAT, CONDA_USE_REMOTE_LATEST"),
         (_BARE_KEYS, _ALL_FRONTS, Differs("Comments in config.json"))),
        (247, 252, "an error: not for other architectures, because of local files or packages that are no wheels",
         (_ACROSS, Differs("CondaException"))),
        (254, 258, "an error: local PyPI packages beside conda's", (_MIXED_LOCAL, Differs("CondaException"))),
        (260, 266, "an error: conda-lock, which has to be installed, was not found",
         (_NO_CONDA_LOCK, _NO_PROGRAMS, Differs("CondaException"))),
        (272, 275, "a run with --environment=conda", Parsed("python myflow.py --environment=conda run")),
        (278, 281, "environment resolve --force of a flow with --environment=conda",
         (Parsed("python myflow.py --environment=conda environment resolve --force", {"force": True}),
          Test(_FLOWS + "test_a_flow_shows_and_resolves_its_environments"))),
        (284, 287, "environment show --pathspec MyFlow/latest/start of a flow with --environment=conda",
         (Differs("show --pathspec of a flow"),
          Parsed("metaflow environment show --pathspec MyFlow/latest/start",
                 {"pathspec": True, "envs": ["MyFlow/latest/start"]}),
          Test("tests/catalog/test_runs.py::test_a_flow_and_a_run_mean_the_end_step_of_the_latest_run"))),
        (290, 293, "--environment=conda --with batch", (_ON_BATCH,)),
        (295, 303, "pip uninstall brings Metaflow's own back; --environment=conda stays",
         (_REMOVED, Differs("Installing and removing"))),
        (337, 339, "DEBUG_CONDA with --environment=conda", _DEBUG),
    ),
    *_rows(
        "named-environments.txt",
        (1, 8, "a name stands for the two ids", _ANY_ID),
        (9, 14, "resolve --python, -r and --alias; without a tag the name is :latest",
         (Parsed("metaflow environment resolve --python '>=3.8,<3.9' -r req_numpy.txt"
                 " --alias mlp/metaflow/conda_example/numpy_test_env",
                 {"python": ">=3.8,<3.9", "requirement": "req_numpy.txt",
                  "aliases": ["mlp/metaflow/conda_example/numpy_test_env"]}),
          Reads("requirements.txt", "numpy==1.21.5\n", {"packages": {"numpy": "1.21.5"}}), _LONG_FORM)),
        (15, 18, "resolve -f and --alias",
         (Parsed("metaflow environment resolve -f env_numpy.yml --alias mlp/ml-team/numpy-env:v1",
                 {"yml": "env_numpy.yml", "aliases": ["mlp/ml-team/numpy-env:v1"]}), _LONG_FORM)),
        (19, 22, "a flow's environment resolve --alias names its steps' environments, with --environment=conda",
         (Parsed("python myflow.py --environment=conda environment resolve --alias mlp/myflow/prod-env:v2",
                 {"aliases": ["mlp/myflow/prod-env:v2"]}),
          Test(_FLOWS + "test_a_flow_shows_and_resolves_its_environments"), Differs("One name for several steps"))),
        (23, 38, "names are a path and a tag, :latest where there is none",
         (Test("tests/catalog/test_aliases.py::test_a_name_is_stored_as_other_readers_expect_it"),
          Parsed("metaflow environment show data-eng/pipeline/spark-env:latest"))),
        (39, 48, "other tags do not move: a second resolve -r with the same --alias fails",
         (Parsed("metaflow env resolve -r req2.txt --alias my/env:v1", {"requirement": "req2.txt"}), _FIXED_NAME,
          Test("tests/catalog/test_aliases.py::"
               "test_of_many_racers_for_an_immutable_name_exactly_one_wins_and_the_others_learn_who"))),
        (49, 57, "latest, stable and candidate move: resolve -r --alias again",
         (Parsed("metaflow env resolve -r req2.txt --alias my/env:latest", {"aliases": ["my/env:latest"]}),
          Test("tests/catalog/test_aliases.py::test_every_move_of_a_mutable_name_is_in_its_history"))),
        (58, 77, "@named_env(name) takes what has the name; @conda(libraries, python) in the same flow",
         (Asks("made('named_env', name='mlp/metaflow/conda_example/numpy_test_env')",
               {"name": "mlp/metaflow/conda_example/numpy_test_env"}),
          Asks("made('conda', libraries={'pandas': '1.5.0'}, python='>=3.8,<3.9')",
               {"packages": {"conda": {"pandas": "1.5.0"}, "pypi": {}}, "python": ">=3.8,<3.9"}), _NAMED)),
        (78, 80, "run with --environment=conda fetches it where it is not here", (_FROM_STORE, _ON_BATCH)),
        (81, 99, "@named_env_base(name) is under every step; @pypi(packages) adds to it",
         (Asks("made('named_env_base', name='mlp/team/base-env:v3')", {"name": "mlp/team/base-env:v3"}),
          Asks("made('pypi', packages={'tensorflow': '2.12.0'})",
               {"packages": {"pypi": {"tensorflow": "2.12"}, "npconda": {}}}), _NAMED)),
        (100, 112, "@named_env(pathspec): Flow, Flow/Run (their end step) or Flow/Run/Step",
         (Asks("made('named_env', pathspec='MyFlow/123')", {"pathspec": "MyFlow/123"}), _NAMED,
          Test("tests/catalog/test_runs.py::test_a_flow_and_a_run_mean_the_end_step_of_the_latest_run"))),
        (113, 113, "pathspecs are names in the cache", Differs("Pathspecs as names")),
        (114, 126, "environment get prints kind and ids, aliases, architecture, time, user, place, request",
         (Parsed("metaflow environment get mlp/metaflow/conda_example/numpy_test_env",
                 {"env": "mlp/metaflow/conda_example/numpy_test_env", "default": True}), _LONG_FORM,
          Test(_COMMANDS + "test_the_quiet_form_of_get_is_one_line_and_names_that_move_come_last"))),
        (127, 131, "runs, deployments and create fetch a named environment by themselves",
         (_NAMED, _ON_ARGO,
          Test("tests/metaflow/test_remote_workflows.py::test_an_airflow_dag_runs"),
          Test(_COMMANDS + "test_an_environment_is_extended_named_and_created"))),
        (132, 159, "CONDA_USE_REMOTE_LATEST: nobody's, mine, anybody's, some people's resolutions",
         (*(Given("CONDA_USE_REMOTE_LATEST", text) for text in (":none:", ":username:", ":any:", "alice,bob,charlie")),
          _USERS)),
        (160, 168, "this machine, then the store by request and user, else resolving", (_LOCAL_FIRST, _USERS)),
        (169, 178, "resolve -f --alias by one person, @named_env_base(name) by the others",
         (Parsed("metaflow environment resolve -f team_base_env.yml --alias mlp/team/base:v5",
                 {"yml": "team_base_env.yml"}), _FROM_STORE)),
        (179, 188, "a new version is a new --alias, or :latest again; resolve -f",
         (Parsed("metaflow environment resolve -f team_base_env.yml --alias mlp/team/base:latest"), _FIXED_NAME)),
        (189, 197, "CONDA_USE_REMOTE_LATEST in config.json, then --environment=conda as ever",
         (Given("CONDA_USE_REMOTE_LATEST", "alice,bob"), _ALL_FRONTS, _USERS)),
        (198, 206, "resolve --using, --alias and -f extend an environment; an environment.yml with one package",
         (Reads("environment.yml", "dependencies :\n  - itsdangerous=2.1.2\n",
                {"libraries": {"itsdangerous": "2.1.2"}}),
          Parsed("metaflow environment resolve --using mlp/metaflow/conda_example/numpy_test_env"
                 " --alias mlp/metaflow/conda_example/numpydanger_test_env -f env_extra.yml",
                 {"using": "mlp/metaflow/conda_example/numpy_test_env", "yml": "env_extra.yml"}),
          Test(_COMMANDS + "test_an_environment_is_extended_named_and_created"))),
        (206, 206, "the base's packages stay as they are", _KEPT),
        (207, 211, "resolve --using-pathspec, --alias and -r",
         (Parsed("metaflow environment resolve --using-pathspec MyFlow/123/train --alias mlp/debug/train-plus-tools"
                 " -r extra_tools.txt", {"using_pathspec": "MyFlow/123/train", "requirement": "extra_tools.txt"}),
          Test("tests/cli/test_env.py::test_the_step_of_a_run_leads_to_its_environment"))),
        (212, 225, "environment show by name, by --pathspec and by both ids",
         (Parsed("metaflow environment show mlp/metaflow/conda_example/numpy_test_env"),
          Parsed("metaflow environment show --pathspec CondaTestFlow/118/start", {"pathspec": True}),
          Parsed("metaflow environment show " + "d" * 40 + ":" + "f" * 40, {"envs": ["d" * 40 + ":" + "f" * 40]}),
          _ANY_ID, _LONG_FORM)),
        (226, 228, "environment --help lists what is known here", Differs("--help as a list")),
        (230, 241, "CONDA_USE_REMOTE_LATEST names people rather than anybody; tags that do not move in production",
         (Given("CONDA_USE_REMOTE_LATEST", "ann,ben"), _FIXED_NAME)),
    ),
]  # fmt: skip
