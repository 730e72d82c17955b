"""Answers of metaflow-netflixext 1.3.17 to 501 inputs, and ours: the same, but for what is meant to differ.

`vectors.json` is the contract's appendix A, `vectors2.json` what the extension answered when it was asked: `peer` is
`{"ok": value}`, or `"err"` where it refused. Each difference stands in `DELIBERATE` with its reason.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.version import Version

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID, Request, co_resolved_full_id, full_id
from asynccache.model.package import split_filename
from asynccache.resolve.build.wheel_rename import built_version
from asynccache.resolve.formats import config_parsers
from asynccache.resolve.requests.metaflow_pins import pypi_pins
from asynccache.resolve.requests.requirement_text import canonical_version, merge_constraints, packages_of
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.requests.sources import channel_or_url
from asynccache.resolve.requests.virtual_packages import VirtualPackage, sys_values
from asynccache.store import layout

Vector = dict[str, Any]
HERE: Final = Path(__file__).parent
OF_CONTRACT: Final[dict[str, list[Vector]]] = json.loads((HERE / "vectors.json").read_text("utf-8"))
VECTORS: Final[list[Vector]] = json.loads((HERE / "vectors2.json").read_text("utf-8"))
REFUSED: Final = "refused"

YAML: Final = "environment.yml is read as YAML, not line by line (contract, 11.3.20)"
PIP: Final = "pip's own syntax is taken"
SECRET: Final = "credentials are not recorded"
TWICE: Final = "sources that are named twice are dropped here already, there before hashing (contract, 1.2.1 f)"
NO_ARCHIVE: Final = "no archive has such a name"


def _theirs(number: int) -> Any:
    return next(vector["peer"]["ok"] for vector in VECTORS if vector["id"] == number)


# number of the vector -> (why it differs, what ours answers)
DELIBERATE: Final[dict[int, tuple[str, Any]]] = {
    131: ("`.` in an address would leave the layout of the store", REFUSED),
    187: ("a pathspec has no empty part", REFUSED),
    535: (
        "names, addresses and markers stay whole; it is shown and enters no id",
        {"a": "1;m", "b": ";m", "f@git+https://h/x.git#a==b": "", "g@https://h/y==z": ""},
    ),
    554: ("there the address is lost", "https://conda.anaconda.org/"),
    555: ("there an IndexError", "https://conda.anaconda.org"),
    560: (NO_ARCHIVE, REFUSED),
    561: (NO_ARCHIVE, REFUSED),
    564: (NO_ARCHIVE, REFUSED),
    566: (NO_ARCHIVE, REFUSED),
    654: ("a digest that is null is refused", REFUSED),
    657: (
        SECRET,
        {
            **_theirs(657),
            "packages": [
                {
                    "_type": "conda",
                    "filename": "a-1-0",
                    "url": "https://h.test/ch/linux-64/a-1-0.conda",
                    "url_format": ".conda",
                    "hashes": {".conda": "8cd470c704fb1186038b5b93853e7e02"},
                }
            ],
        },
    ),
    658: (SECRET, {**_theirs(658), "sources": ["conda::https://h/ch"]}),
    719: (PIP, {"packages": {"pandas": "1.0"}}),
    720: (PIP, {"packages": {"pandas": "1.0"}}),
    723: (PIP, {"packages": {}}),
    730: (PIP, {"extras": {"pypi": ["--find-links /tmp/x"]}, "packages": {}}),
    732: (PIP, {"extras": {"pypi": ["--trusted-host h"]}, "packages": {}}),
    734: ("text behind a flag is not dropped", REFUSED),
    749: ("`!=` is an operator (contract, 11.3.20)", {"conda_only": {"ffmpeg": "!=4"}, "packages": {}}),
    764: ("a map cannot hold a marker of Python (contract, 11.3.2)", REFUSED),
    795: (PIP, {"packages": {"a": "1"}}),
    801: (SECRET, REFUSED),
    804: (SECRET, REFUSED),
    817: (
        TWICE,
        {
            "python": None,
            "extras": {},
            "sources": {"pypi": ["https://a", "https://b"]},
            "deps": {},
            "np": {},
            "sys": {},
        },
    ),
    821: (
        TWICE,
        {
            "python": None,
            "sources": {"conda": ["conda-forge", "https://x/y"]},
            "conda": {"a": ""},
            "pypi": {},
            "sys": {},
        },
    ),
    823: (YAML, {"python": None, "sources": {}, "conda": {"a": "", "c": ""}, "pypi": {"b": ""}, "sys": {}}),
    834: (YAML, {"python": "3.8", "sources": {}, "conda": {}, "pypi": {}, "sys": {}}),
    836: (YAML, {"python": None, "sources": {}, "conda": {"f": "1.0"}, "pypi": {}, "sys": {}}),
    837: (YAML, {"python": None, "sources": {}, "conda": {"f": "1.0=py_0"}, "pypi": {}, "sys": {}}),
    838: (YAML, {"python": None, "sources": {}, "conda": {"i": "!=2"}, "pypi": {}, "sys": {}}),
    839: (YAML, {"python": None, "sources": {}, "conda": {"j": ">=1"}, "pypi": {}, "sys": {}}),
    841: (YAML, REFUSED),
    844: (YAML, REFUSED),
    845: (YAML, {"python": None, "sources": {"pypi": ["https://x"]}, "conda": {}, "pypi": {"six": ""}, "sys": {}}),
    846: (YAML, {"python": None, "sources": {}, "conda": {}, "pypi": {"six": ';python_version < "3"'}, "sys": {}}),
    848: (YAML, {"python": None, "sources": {}, "conda": {"a": ""}, "pypi": {}, "sys": {}}),
    849: (YAML, {"python": None, "sources": {}, "conda": {"a": "", "b": ""}, "pypi": {}, "sys": {}}),
    852: (YAML, {"python": None, "sources": {}, "conda": {"a": ';python_version < "3"'}, "pypi": {}, "sys": {}}),
    854: (YAML, REFUSED),
    856: (YAML, {"python": None, "sources": {}, "conda": {"a": "1", "b": ">=2"}, "pypi": {}, "sys": {}}),
    862: (YAML, {"python": None, "sources": {"conda": ["cf"]}, "conda": {"a": ""}, "pypi": {}, "sys": {}}),
    866: (YAML, {"python": None, "sources": {}, "conda": {"a": "1.0"}, "pypi": {}, "sys": {}}),
    867: (YAML, REFUSED),
    872: (
        "an exact version among the dependencies says what the target has, as below `sys:`",
        {"python": None, "sources": {}, "conda": {}, "pypi": {}, "sys": {"__glibc": "2.27"}},
    ),
    874: (YAML, REFUSED),
    888: ("the format has a list there", REFUSED),
    894: (SECRET, REFUSED),
}


def _entries(packages: list[Vector]) -> list[tuple[str, str | None]]:
    return [(package["filename"], package["hashes"].get(package["fmt"])) for package in packages]


def _sys(vector: Vector) -> dict[str, str]:
    detected = [VirtualPackage(name, version) for name, version in vector["vp"].items()]
    return sys_values([vector["arch"]], Settings(), gpu=vector["gpu"], detected=detected, machine_arch="linux-64")


def _document(vector: Vector) -> dict[str, Any]:
    env_id = EnvID("0" * 40, "1" * 40, vector["arch"])
    return ResolvedEnvironment.from_document(env_id, vector["doc"]).as_document()


def _parsed(vector: Vector, parser: Callable[..., str | None], *names: str) -> dict[str, Any]:
    extras: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    maps: dict[str, dict[str, str]] = {name: {} for name in names}
    python = parser(vector["text"], extras, sources, *maps.values())
    found = {"python": python, "extras": extras, "sources": sources, **maps}
    return {name: part for name, part in found.items() if name != "extras" or "np" in names}


ANSWERS: Final[dict[str, Callable[[Vector], Any]]] = {
    "req": lambda v: Request(v["deps"], v["sources"], v["extras"]).req_id,
    "full": lambda v: full_id(_entries(v["packages"]), v["arch"], v["keys"]),
    "cofull": lambda v: [
        co_resolved_full_id({arch: _entries(packages) for arch, packages in v["by_arch"].items()}),
        sorted(v["by_arch"]),
    ],
    "key": lambda v: layout.key_of(v["type"], v["url"], v["filename"] + v["fmt"], v["hash"], real=v["real"]),
    "splitext": lambda v: list(split_filename(v["text"])),
    "built": lambda v: str(built_version(Version(v["version"]), v["digest"])),
    "alias": lambda v: [(alias := Alias.parse(v["text"])).kind, alias.stored, alias.mutable],
    "merge": lambda v: merge_constraints(v["a"], v["b"]),
    "canon": lambda v: canonical_version(v["text"]),
    "split": lambda v: packages_of(v["deps"]),
    "strlist": lambda v: Requirements.of({"conda": v["deps"]}).values("conda"),
    "topypi": lambda v: pypi_pins(v["deps"]),
    "channel": lambda v: channel_or_url(v["text"]),
    "sys": _sys,
    "doc": _document,
    "req_parser": lambda v: config_parsers.req_parser(v["text"]),
    "req_value": lambda v: _parsed(v, config_parsers.parse_req_value, "deps", "np", "sys"),
    "yml": lambda v: _parsed(v, config_parsers.parse_yml_value, "conda", "pypi", "sys"),
    "toml": lambda v: config_parsers.toml_parser(v["text"]),
}


def answer(vector: Vector) -> Any:
    """Return what ours makes of an input, in the format of the vectors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return json.loads(json.dumps(ANSWERS[vector["kind"]](vector)))
        except UsageError:
            return REFUSED


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['kind']}-{v['id']}")
def test_ours_answers_as_the_extension_but_for_what_is_meant_to_differ(
    vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "tester")  # who resolved it where nobody is named
    theirs = REFUSED if vector["peer"] == "err" else vector["peer"]["ok"]
    reason, meant = DELIBERATE.get(vector["id"], ("", theirs))

    assert answer(vector) == meant, reason
    assert (meant != theirs) == (vector["id"] in DELIBERATE)


@pytest.mark.parametrize("vector", OF_CONTRACT["req"], ids=lambda v: v["id"])
def test_requests_have_the_ids_and_types_of_the_contract(vector: Vector) -> None:
    request = Request(vector["deps"], vector["sources"], vector["extras"])
    assert (request.req_id, request.environment_type) == (vector["req_id"], vector["type_from_deps"])


@pytest.mark.parametrize("vector", OF_CONTRACT["full"], ids=lambda v: v["id"])
def test_environments_have_the_ids_of_the_contract(vector: Vector) -> None:
    def entries(texts: list[str]) -> list[tuple[str, str | None]]:
        return [(n, None if digest == "None" else digest) for n, _, digest in (t.rpartition("#") for t in texts)]

    if "arch" in vector:
        found = full_id(reversed(entries(vector["entries_any_order"])), vector["arch"], vector["unique_keys"])
    else:
        found = co_resolved_full_id({arch: entries(texts) for arch, texts in vector["co_resolved"].items()})
        assert sorted(vector["co_resolved"]) == vector["resolved_archs"]
    assert found == vector["full_id"]


@pytest.mark.parametrize("vector", OF_CONTRACT["keys"], ids=lambda v: v["url"][-40:])
def test_archives_have_the_keys_of_the_contract(vector: Vector) -> None:
    filename, real = vector["filename"] + vector["format"], vector["real_url"]
    assert layout.key_of(vector["type"], vector["url"], filename, vector["hash"], real=real) == vector["key"]
