"""Documents are read and written byte for byte as the contract's samples are."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request

SAMPLES = json.loads((Path(__file__).resolve().parents[1] / "compat" / "documents.json").read_text("utf-8"))
ID = EnvID("a" * 40, "b" * 40, "linux-64")
B1 = SAMPLES["B.1"]["document"]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_document_survives_reading_and_writing_byte_for_byte(name: str) -> None:
    document = SAMPLES[name]["document"]
    environment = ResolvedEnvironment.from_document(ID, document)
    assert environment.to_json() == json.dumps(document).encode()


def test_the_ids_of_the_samples_follow_from_their_content() -> None:
    environment = ResolvedEnvironment.from_document(ID, B1)
    assert environment.request.req_id == "da348751b36d9d2c4e573f2aa0c42c2142db0811"
    assert environment.computed_full_id() == "57ab81c64cb84061e593ce41b75a2924f03e440a"


def test_documents_of_older_writers_are_understood() -> None:
    old: dict[str, Any] = {
        "deps": ["pip::six==1.16", "conda::python==3.8.*"],
        "sources": ["pip::https://index.test/simple"],
        "packages": [
            {"_type": "pip", "filename": "six-1.16.0-py3-none-any", "url": "https://h/six-1.16.0-py3-none-any.whl",
             "url_format": ".whl", "hashes": {}}
        ],
        "resolved_on": "2023-01-02T03:04:05.000006",
        "resolved_by": "someone",
        "resolved_archs": ["linux-64"],
        "env_type": "pip-only",
        "a later addition": 1,
    }  # fmt: skip
    environment = ResolvedEnvironment.from_document(ID, old)
    assert environment.request.deps["pypi"] == ["six==1.16"]
    assert environment.packages[0].kind == "pypi"
    assert environment.environment_type == "pypi-only"
    assert (
        ResolvedEnvironment.from_document(ID, {k: v for k, v in old.items() if k != "env_type"}).environment_type
        == "mixed"
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"deps": ["numpy"]}, "not CATEGORY::VALUE"),
        ({"deps": ["::left-pad"]}, "not CATEGORY::VALUE"),
        ({"deps": None}, "not a list"),
        ({"env_type": "strange"}, "unknown type"),
        ({"resolved_on": "yesterday"}, "malformed"),
        ({"packages": [{}]}, "malformed"),
        ({"packages": [{"_type": "npm"}]}, "malformed"),
    ],
)
def test_a_malformed_document_is_refused_with_its_id(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ResolvedEnvironment.from_document(ID, {**B1, **changed})


@pytest.mark.parametrize("key", ["deps", "sources", "packages", "resolved_on", "resolved_by", "resolved_archs"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(UsageError, match=f"the key '{key}'"):
        ResolvedEnvironment.from_document(ID, {k: v for k, v in B1.items() if k != key})


@pytest.mark.parametrize("cut", [0, 1, 100, 1000])
def test_a_truncated_document_is_called_one(cut: int) -> None:
    with pytest.raises(IntegrityError, match="not JSON"):
        ResolvedEnvironment.from_json(ID, json.dumps(B1).encode()[:cut])


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05.1+02:00", "2026-01-02T03:04:05.100000+02:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
    ],
)
def test_a_time_with_a_zone_stays_and_can_be_compared(written: str, kept: str) -> None:
    found = ResolvedEnvironment.from_document(ID, {**B1, "resolved_on": written})
    assert found.as_document()["resolved_on"] == kept
    assert found.local_time.tzinfo is None
    assert found.local_time.timestamp() == datetime.fromisoformat(written).timestamp()


def test_a_category_that_is_not_known_stays() -> None:
    parts = {"deps": ["later::x==1", "conda::a"], "sources": ["conda::c", "later::y"], "extras": ["later::--z"]}
    found = ResolvedEnvironment.from_document(ID, {**B1, **parts}).as_document()
    assert {part: sorted(found[part]) for part in parts} == {part: sorted(texts) for part, texts in parts.items()}


def test_credentials_do_not_enter_a_document() -> None:
    package = EnvironmentPackage("pypi", "a-1-py3-none-any", "https://me:s3cret@h:1/a-1-py3-none-any.whl", ".whl")
    request = Request(sources={"pypi": ["https://me:s3cret@index.test/simple"]})
    environment = ResolvedEnvironment(ID, request, (package,), datetime(2026, 1, 1), "me", ("linux-64",))  # noqa: DTZ001
    assert b"s3cret" not in environment.to_json()
    assert b"https://h:1/a-1" in environment.to_json()
    assert package.to_package().access.password == "s3cret"


def test_a_second_key_or_digest_for_one_form_is_refused() -> None:
    package = ResolvedEnvironment.from_document(ID, B1).packages[0]
    key = package.cached[".conda"]
    assert package.with_cached(".conda", key) == package
    with pytest.raises(IntegrityError, match="second key"):
        package.with_cached(".conda", "packages/conda/h/x/f/" + "0" * 32 + "/f")


def test_what_was_built_locally_has_no_address_to_fetch() -> None:
    package = EnvironmentPackage("pypi", "a-1-py3-none-any", "https://_fake/github.com/a/b.git/c", ".whl")
    with pytest.raises(UsageError, match="no address"):
        package.to_package()
