from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import ConfigurationError
from asynccache.resolve.requests.pip_configuration import read_pip_configuration


def test_files_replace_one_another_and_variables_are_a_section_of_their_own(tmp_path: Path) -> None:
    home, prefix, named = tmp_path / "home", tmp_path / "prefix", tmp_path / "named.conf"
    (home / ".config" / "pip").mkdir(parents=True)
    prefix.mkdir()
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = user\ntimeout = 1\n")
    (prefix / "pip.conf").write_text("[global]\nindex_url = site\n[install]\n--extra-index-url = A\n  B\n")
    named.write_text("[global]\ntimeout = 2\n")
    environ = {
        "PIP_CONFIG_FILE": str(named), "PIP_EXTRA_INDEX_URL": "", "PIP_VERSION": "1", "OTHER": "x",
        "XDG_CONFIG_DIRS": str(tmp_path / "none"),
    }  # fmt: skip
    found = read_pip_configuration(environ, home=home, prefix=prefix)
    mine = [(name, value) for name, value in found if name != ":env:.config-file"]
    if not Path("/etc/pip.conf").exists():
        assert mine == [
            (":env:.extra-index-url", ""),
            ("global.index-url", "site"),
            ("global.timeout", "2"),
            ("install.extra-index-url", "A\nB"),
        ]
    assert {("global.index-url", "site"), ("global.timeout", "2"), (":env:.extra-index-url", "")} <= set(mine)


def test_no_file_is_read_when_the_null_device_is_named(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = x\n")
    environ = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "https://host/simple"}
    found = dict(read_pip_configuration(environ, home=tmp_path, prefix=tmp_path))
    assert found == {":env:.config-file": os.devnull, ":env:.index-url": "https://host/simple"}


def test_a_malformed_file_is_named_without_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("index-url = https://me:secret@host/\n")
    with pytest.raises(ConfigurationError, match=r"pip\.conf cannot be read") as caught:
        read_pip_configuration({"PIP_CONFIG_FILE": str(file)}, home=tmp_path, prefix=tmp_path / "none")
    assert "secret" not in str(caught.value)


def test_pip_itself_lists_the_same(tmp_path: Path) -> None:
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://host/simple\nextra-index-url = A B\n[install]\nno_cache = yes\n")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(named), "PIP_EXTRA_INDEX_URL": "https://extra/simple",
    }  # fmt: skip
    environ.pop("XDG_CONFIG_HOME", None)
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        pytest.skip("this interpreter has no pip")
    theirs = {
        name: ast.literal_eval(value)
        for name, _, value in (line.partition("=") for line in answer.stdout.splitlines())
        if name != ":env:.disable-pip-version-check"
    }
    ours = dict(read_pip_configuration(environ, home=tmp_path))
    assert {n: v for n, v in ours.items() if n != ":env:.config-file"} == {
        n: v for n, v in theirs.items() if n != ":env:.config-file"
    }
