"""Settings come from flag, environment, file and default, in this order, and say so."""

import json
from pathlib import Path

import pytest

from asynccache.config import LoadedSettings, load_settings
from asynccache.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _load(
    home: Path, *, flags: dict[str, object] | None = None, toml: str = "", metaflow: object = None, **environ: str
) -> LoadedSettings:
    (home / ".config/asynccache").mkdir(parents=True, exist_ok=True)
    (home / ".config/asynccache/config.toml").write_text(toml)
    if metaflow is not None:
        (home / ".metaflowconfig").mkdir(exist_ok=True)
        (home / ".metaflowconfig/config.json").write_text(json.dumps(metaflow))
    return load_settings(flags, environ)


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(home: Path) -> None:
    toml = "in_flight = 3\n"
    assert _load(home).settings.in_flight == 64
    assert _load(home, toml=toml).settings.in_flight == 3
    assert _load(home, toml=toml, ASYNCCACHE_IN_FLIGHT="4").settings.in_flight == 4
    loaded = _load(home, toml=toml, ASYNCCACHE_IN_FLIGHT="4", flags={"in_flight": 5})
    assert loaded.settings.in_flight == 5
    assert str(loaded.origins["in_flight"]) == "flag --in-flight"


def test_each_value_says_where_it_came_from(home: Path) -> None:
    loaded = _load(home, toml="zstd_level = 9\n", ASYNCCACHE_STORE="s3://b/p")
    assert str(loaded.origins["store"]) == "environment ASYNCCACHE_STORE"
    assert str(loaded.origins["zstd_level"]) == f"file {home}/.config/asynccache/config.toml:zstd_level"
    assert str(loaded.origins["cpu_slots"]) == "default"


def test_what_metaflow_users_have_set_is_honoured(home: Path) -> None:
    loaded = _load(
        home,
        metaflow={"METAFLOW_CONDA_LOCK_TIMEOUT": 120, "CONDA_PACKAGES_DIRNAME": "pkgs", "unknown": 1},
        METAFLOW_DEFAULT_DATASTORE="s3",
        METAFLOW_CONDA_S3ROOT="s3://team/conda_env",
        METAFLOW_CONDA_PREFERRED_FORMAT=".conda",
    )
    assert loaded.settings.store == "s3://team/conda_env"
    assert loaded.settings.preferred_format == ".conda"
    assert loaded.settings.lock_timeout == 120.0
    assert loaded.settings.packages_dirname == "pkgs"
    assert loaded.bare_keys == ("CONDA_PACKAGES_DIRNAME",)


def test_our_own_variable_beats_metaflows(home: Path) -> None:
    loaded = _load(home, METAFLOW_CONDA_S3ROOT="s3://a/b", ASYNCCACHE_STORE="/c")
    assert loaded.settings.store == "/c"


def test_maps_are_json_in_the_environment_and_tables_in_the_file(home: Path) -> None:
    assert _load(home, METAFLOW_CONDA_SRCS_AUTH_INFO='{"h": ["u", "p"]}').settings.auth == {"h": ["u", "p"]}
    toml = '[mirrors]\n"https://a" = ["https://b"]\n'
    assert _load(home, toml=toml).settings.mirrors == {"https://a": ["https://b"]}


def test_a_choice_that_does_not_exist_lists_those_that_do(home: Path) -> None:
    expected = r"METAFLOW_CONDA_PREFERRED_FORMAT must be set to one of \['.conda', '.tar.bz2', 'none'\]. Got '.zip'."
    with pytest.raises(ConfigurationError, match=expected):
        _load(home, METAFLOW_CONDA_PREFERRED_FORMAT=".zip")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ASYNCCACHE_IN_FLIGHT", "many", "whole number"),
        ("ASYNCCACHE_IN_FLIGHT", "0", "at least 1"),
        ("ASYNCCACHE_LOCK_TIMEOUT", "soon", "a number"),
        ("ASYNCCACHE_MIRRORS", "[]", "JSON object of lists"),
        ("ASYNCCACHE_MIRRORS", "{", "JSON object of lists"),
    ],
)
def test_a_value_that_cannot_be_says_what_can(home: Path, variable: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        load_settings(environ={variable: value})
    assert variable in str(caught.value)


def test_an_unknown_key_in_the_file_is_refused(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown setting 'in_fligth'"):
        _load(home, toml="in_fligth = 3\n")


def test_an_unreadable_file_is_named(home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.toml cannot be read"):
        _load(home, toml="in_flight = \n")
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(environ={"ASYNCCACHE_CONFIG": str(home / "nowhere.toml")})


def test_secrets_are_not_shown(home: Path) -> None:
    loaded = _load(home, METAFLOW_CONDA_SRCS_AUTH_INFO='{"h": ["user", "s3cret"]}')
    assert "s3cret" not in repr(loaded)
    with pytest.raises(ConfigurationError) as caught:
        _load(home, METAFLOW_CONDA_SRCS_AUTH_INFO='{"h": "s3cret"}')
    assert "s3cret" not in str(caught.value)


def test_the_working_directory_is_known_wherever_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"cache_dir": "node"}, {}).settings.cache_dir == tmp_path / "node"


def test_a_root_that_follows_from_a_datastore_is_not_named(home: Path, tmp_path: Path) -> None:
    derived = load_settings(environ={"HOME": str(home), "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path)}).settings
    assert derived.store == f"{tmp_path}/conda_env"
    assert not derived.root_is_named
    for named in ({"ASYNCCACHE_STORE": str(tmp_path)}, {"METAFLOW_CONDA_LOCALROOT": str(tmp_path)}):
        assert load_settings(environ={"HOME": str(home), **named}).settings.root_is_named
    assert not load_settings(environ={"HOME": str(home)}).settings.root_is_named
