"""Settings come from flag, environment, file and default, in this order, and say so."""

import json
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import LoadedSettings, Settings, load_settings, settings_environment
from asynccache.config.settings import ROWS
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
    assert str(_load(home, flags={"zstd_level": 5}).origins["zstd_level"]) == "flag --level"


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


def test_without_any_configuration_the_store_is_one_of_the_users_own(home: Path) -> None:
    loaded = _load(home)
    assert (loaded.settings.store, str(loaded.origins["store"]), loaded.warnings) == (None, "default", ())
    assert loaded.settings.root.directory == loaded.settings.cache_dir / "store"


@pytest.mark.parametrize("datastore", ["s3", "azure", "gs"])
def test_a_datastore_without_a_root_has_no_store_of_the_users_own_instead(home: Path, datastore: str) -> None:
    settings = _load(home, METAFLOW_DEFAULT_DATASTORE=datastore).settings
    with pytest.raises(ConfigurationError, match=f"set METAFLOW_CONDA_{datastore.upper()}ROOT, or") as caught:
        _ = settings.root
    assert f"the datastore in use is {datastore}, and the location of its cache is unknown" in str(caught.value)


def test_a_root_that_is_set_and_not_used_is_told_of(home: Path) -> None:
    (warning,) = _load(home, METAFLOW_CONDA_S3ROOT="s3://team/conda_env").warnings
    assert "METAFLOW_CONDA_S3ROOT is set but not used, since the datastore in use is local" in warning
    (warning,) = _load(home, metaflow={"METAFLOW_DATASTORE_SYSROOT_GS": "gs://b/x"}).warnings
    assert "set METAFLOW_DEFAULT_DATASTORE=gs to use it" in warning
    assert _load(home, METAFLOW_CONDA_S3ROOT="s3://b/x", ASYNCCACHE_STORE="/x").warnings == ()
    assert _load(home, METAFLOW_CONDA_S3ROOT="s3://b/x", METAFLOW_DEFAULT_DATASTORE="s3").warnings == ()


def test_a_root_that_is_given_for_metaflow_is_in_its_notation(home: Path) -> None:
    loaded = _load(home, flags={"datastore": "azure", "conda_root": "container/x"})
    assert (loaded.settings.store, loaded.settings.root.kind) == ("az://container/x", "azure")
    with pytest.raises(ConfigurationError, match="--conda-root: container/x cannot be the root of the datastore s3"):
        _load(home, flags={"datastore": "s3", "conda_root": "container/x"})


def test_what_another_extension_says_counts_before_the_default_only(home: Path) -> None:
    said = {"datastore": "s3", "CONDA_S3ROOT": "s3://company/conda_env", "username": "company"}
    loaded = load_settings(environ={}, extensions=said)
    assert (loaded.settings.store, loaded.settings.username) == ("s3://company/conda_env", "company")
    assert loaded.origins["store"].kind == "extension"
    mine = {"METAFLOW_CONDA_S3ROOT": "s3://mine", "METAFLOW_USER": "me"}
    loaded = load_settings(environ=mine, extensions=said)
    assert (loaded.settings.store, loaded.settings.username) == ("s3://mine", "me")


def test_a_process_started_here_is_given_what_it_cannot_read_itself(home: Path) -> None:
    environ = {"METAFLOW_CONDA_S3ROOT": "s3://b/x", "ASYNCCACHE_IN_FLIGHT": "7"}
    flags = {"datastore": "s3", "mirrors": {"https://a": ["https://b"]}, "offline": True, "cache_dir": home / "c"}
    loaded = load_settings(flags, environ)
    passed = settings_environment(loaded)
    assert set(passed) == {f"ASYNCCACHE_{name.upper()}" for name in flags}
    assert load_settings(environ={**environ, **passed}).settings == loaded.settings


def test_no_value_is_outside_its_range_however_it_is_given(home: Path) -> None:
    ranged = [row for row in ROWS.values() if row.minimum is not None]
    assert len(ranged) >= 15
    for row in ranged:
        assert row.minimum is not None
        below = row.minimum - 1
        changed: dict[str, Any] = {row.name: below}
        with pytest.raises(ConfigurationError, match=f"{row.name} must be "):
            Settings(**changed)
        for text in (str(below), "nan", "inf", "", "x"):
            if text:
                with pytest.raises(ConfigurationError, match=f"ASYNCCACHE_{row.name.upper()} must be ") as caught:
                    load_settings(environ={f"ASYNCCACHE_{row.name.upper()}": text})
                assert f"Got '{text}'" in str(caught.value)
    for level in (0, 23):
        with pytest.raises(ConfigurationError, match=f"zstd_level must be a whole number from 1 to 22. Got {level}"):
            Settings(zstd_level=level)


def test_a_fraction_is_no_whole_number_and_a_text_no_list(home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"in_flight must be a whole number of at least 1\. Got 3\.5"):
        _load(home, toml="in_flight = 3.5\n")
    assert _load(home, ASYNCCACHE_CHANNELS="a, b").settings.channels == ["a", "b"]
    # conda's own variable is part of conda's configuration
    assert _load(home, CONDA_CHANNELS="a,b").settings.channels is None
    with pytest.raises(ConfigurationError, match="METAFLOW_CONDA_CHANNELS must be a JSON list of texts"):
        _load(home, METAFLOW_CONDA_CHANNELS="a,b")


def test_what_is_shown_of_the_settings_holds_no_credential(home: Path) -> None:
    loaded = _load(
        home,
        toml='channels = ["https://me:s3cret@host/chan"]\n[mirrors]\n"https://a" = ["https://me:s3cret@b"]\n',
        METAFLOW_CONDA_SRCS_AUTH_INFO='{"h": ["user", "s3cret"]}',
        METAFLOW_S3_ENDPOINT_URL="http://me:s3cret@host:9000",
        METAFLOW_CONDA_DEFAULT_PYPI_SOURCE="https://host/simple?token=s3cret",
    )
    document = json.dumps([row.as_document() for row in loaded.shown])
    assert "s3cret" not in document
    assert "http://host:9000" in document
    with pytest.raises(ConfigurationError) as caught:
        _load(home, ASYNCCACHE_STORE="https://me:s3cret@host/x")
    assert "s3cret" not in str(caught.value)


def test_metaflows_configuration_is_read_where_the_current_directory_is_gone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert _load(home, metaflow={"METAFLOW_CONDA_ENVS_DIRNAME": "x"}).settings.envs_dirname == "x"
