"""What `@huggingface` and its settings refuse, and that no message has a token in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.metaflow.hub_bed import (
    DECORATE,
    PROVIDER_MODULE,
    TOKEN,
    Bed,
    copy_sources,
    hub_bed,
)
from tests.support.metaflow_venv import launch_venv

_ARGUMENTS = """
from asynccache.metaflow.huggingface.decorator import HuggingFaceDecorator
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
from asynccache.metaflow.huggingface.auth import find_token
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
from asynccache.metaflow.huggingface.settings import read_settings
value = []
for seconds in GIVEN:
    os.environ["METAFLOW_HUGGINGFACE_DOWNLOAD_TIMEOUT"] = seconds
    try:
        from metaflow import metaflow_config
        vars(metaflow_config).update(configuration())
        value.append(read_settings().timeout)
    except Exception as error:
        value.append([type(error).__name__, str(error)])
"""
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


@pytest.fixture(name="sources", scope="module")
def make_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(name="bed")
def make_bed(tmp_path: Path, sources: Path) -> Iterator[Bed]:
    with hub_bed(tmp_path, sources) as bed:
        yield bed


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
            "from asynccache.metaflow.huggingface.models import read_models\n"
            f"value = [[k, str(m), m.directory] for k, m in read_models({given[0]['models']!r}).items()]"
        )
        assert bed.value(directories) == [
            ["gpt2", "gpt2@main", "gpt2_main"],
            ["team/tiny", "team/tiny@refs/pr/1", "team%2Ftiny_refs%2Fpr%2F1"],
        ]

    def test_providers_that_are_none_or_fail_are_told_without_what_they_say(self, bed: Bed) -> None:
        (bed.directory / "my_providers.py").write_text(PROVIDER_MODULE)
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
        base, message, trace = bed.value(DECORATE, METAFLOW_HUGGINGFACE_ENDPOINT=endpoint)
        assert base == "MetaflowException"
        assert said in message
        assert "pass@" not in message + trace

    def test_a_time_limit_is_a_positive_integer(self, bed: Bed) -> None:
        given = ["0", "-3", "soon", "1.5", ""]
        base = "METAFLOW_HUGGINGFACE_DOWNLOAD_TIMEOUT must be a positive integer. Got '{}'."
        assert bed.value(f"GIVEN = {given!r}\n{_LIMITS}") == [
            ["HuggingFaceException", base.format(seconds)] for seconds in given
        ]
        assert bed.value(f"GIVEN = ['7']\n{_LIMITS}") == [7]

    def test_a_python_without_huggingface_hub_is_told_what_to_add(self, bed: Bed) -> None:
        without = Bed(launch_venv(asynccache=False) / "bin" / "python", bed.sources, bed.directory, bed.hub)
        base, message, _trace = without.value(DECORATE)
        assert base == "MetaflowException"
        assert "needs huggingface_hub" in message
