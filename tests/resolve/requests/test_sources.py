from __future__ import annotations

import pytest

from asynccache.config import Settings
from asynccache.model.identity import Request
from asynccache.resolve.requests.sources import (
    channel_or_url,
    conda_sources,
    default_indexes,
    overridden_index,
    pypi_sources,
)

PYPI = "https://pypi.org/simple"


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("https://conda.anaconda.org/conda-forge/linux-64", "conda-forge"),
        ("https://conda.anaconda.org/conda-forge/label/dev", "conda-forge"),
        ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/main"),
        ("https://user:p@conda.anaconda.org/x/y", "x"),
        ("bioconda", "bioconda"),
        ("https://mirror.host/conda/conda-forge", "conda-forge"),
    ],
)
def test_a_channel_at_the_usual_host_is_its_name(text: str, channel: str) -> None:
    assert channel_or_url(text, "mirror.host/conda") == channel


def test_channels_keep_the_users_order_and_do_not_repeat() -> None:
    settings = Settings(channels=["conda-forge", "defaults"])
    found = conda_sources(["c", "a", "https://conda.anaconda.org/conda-forge", "b"], settings)
    assert found == ["c", "a", "conda-forge", "b", "defaults"]
    assert conda_sources(["a"], settings, ["other"]) == ["a", "other"]
    # the order is the solver's business: the identity does not depend on it
    assert Request(sources={"conda": found}).req_id == Request(sources={"conda": found[::-1]}).req_id


@pytest.mark.parametrize(
    ("configured", "default", "indexes"),
    [
        ({}, None, [PYPI]),
        ({"extra-index-url": "A"}, None, [PYPI]),
        ({"extra-index-url": "A B"}, None, [PYPI, "B"]),
        ({"index-url": "I", "extra-index-url": "A"}, None, ["A", "I"]),
        ({"index-url": "I", "extra-index-url": "A B"}, None, ["A", "B", "I"]),
        ({"index-url": "I", "extra-index-url": "A"}, "D", ["D", "A"]),
        ({"index-url": "I", "extra-index-url": ""}, None, ["", "I"]),
        ({"timeout": "3"}, None, [PYPI]),
    ],
)
def test_default_indexes_are_those_of_the_contracts_table(
    configured: dict[str, str], default: str | None, indexes: list[str]
) -> None:
    entries = sorted((f"global.{option}", value) for option, value in configured.items())
    assert default_indexes(entries, default) == indexes


@pytest.mark.parametrize(
    ("entries", "indexes", "told"),
    [
        ([(":env:.index-url", "E"), ("global.index-url", "I"), ("install.index-url", "J")], ["E"], None),
        ([("global.index-url", "https://u:hidden@i"), ("install.index-url", "J")], ["https://u:hidden@i"], "J"),
        ([("download.index-url", "D"), ("global.index-url", "I")], ["D"], "I"),
        ([("global.index-url", "I"), ("install.index-url", "I")], ["I"], None),
    ],
)
def test_of_several_index_urls_the_first_that_pip_lists_counts_and_pips_own_is_told(
    entries: list[tuple[str, str]], indexes: list[str], told: str | None
) -> None:
    assert default_indexes(entries) == indexes
    note = overridden_index(entries)
    assert (note is None) == (told is None)
    if note and told:
        assert f"pip itself would ask {told} (" in note
        assert "hidden" not in note
    assert overridden_index(entries, "https://d/simple") is None


def test_the_users_indexes_follow_the_defaults() -> None:
    settings = Settings(default_pypi_source="https://d/simple")
    assert pypi_sources(["https://u/simple", "https://d/simple"], settings, ()) == [
        "https://d/simple",
        "https://u/simple",
    ]
