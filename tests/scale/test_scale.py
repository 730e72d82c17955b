"""A small form of `make test-scale`, and what it is that it would notice."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.scale.run import IN_FLIGHT, Result, judge, run
from tests.store.conftest import use_credentials_of
from tests.support.object_servers import BUCKET, ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")


@pytest.mark.timeout(280)
async def test_a_backfill_that_is_killed_goes_on_elsewhere_and_misses_nothing(
    weed: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(weed, monkeypatch)
    root = f"s3://{BUCKET}/{secrets.token_hex(6)}/conda_env"
    result = await run(weed, root, tmp_path, packages=60, kills=1, seed=1)
    assert result.wrong == []
    assert result.kills == 1
    assert result.report["made"] != 0


def test_what_must_not_be_is_noticed() -> None:
    report: dict[str, object] = {"packages": 2, "failed": 0, "complete": True}
    keys = ["a", "b", "c", "d"]

    def wrong(taken: list[str] = keys, **changes: object) -> str:
        fields = {
            "packages": 2, "kills": 1, "memory": [1 << 20], "transmuted": 2 + IN_FLIGHT, "complete": 2,
            "report": report, "shard_requests": [1, 1, 1, 2], **changes,
        }  # fmt: skip
        result = Result(**fields)  # type: ignore[arg-type]
        judge(result, taken)
        return " ".join(result.wrong)

    assert wrong() == ""
    assert "1 packages were missed" in wrong(complete=1)
    assert "does not add up" in wrong(report={**report, "packages": 1})
    assert "were done twice" in wrong(transmuted=3 + IN_FLIGHT)
    assert "1 archives were uploaded twice" in wrong(uploaded_twice=1)
    assert "a process had 300 MiB" in wrong(memory=[300 << 20])
    assert "four shards took 4 keys, 3 of them different" in wrong(["a", "b", "c", "c"])
    assert "four shards took 6 listings" in wrong(shard_requests=[2, 2, 1, 1])
