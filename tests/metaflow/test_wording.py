"""Messages to Metaflow's users call settings by the variables that they set."""

import pytest

from asynccache.metaflow.wording import in_metaflows_words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise resolve_timeout, or ask", "raise ASYNCCACHE_RESOLVE_TIMEOUT, or ask"),
        ("or set pypi_dependency_resolver to `pip`", "or set METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER to `pip`"),
        ("the setting trust requires one", "the setting METAFLOW_CONDA_TRUST requires one"),
        ("the setting `auth`.", "the setting `METAFLOW_CONDA_SRCS_AUTH_INFO`."),
        ("pack it, and keep the channels", "pack it, and keep the channels"),
        ("no such file: /home/cache_dir/x and cache_dir.txt", "no such file: /home/cache_dir/x and cache_dir.txt"),
        ("set cache_dir to a larger disk.", "set ASYNCCACHE_CACHE_DIR to a larger disk."),
    ],
)
def test_a_setting_is_called_by_its_variable(text: str, told: str) -> None:
    assert in_metaflows_words(text) == told
