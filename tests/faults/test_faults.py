"""A few cells of the fault matrix (`make test-faults` tries all), and what it is that the matrix would notice."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.faults.bed import CONTAINER, open_bed
from tests.faults.matrix import COMMANDS, Matrix, wrong_objects
from tests.support.breaking_proxy import Break
from tests.support.effort import tries

pytestmark = [pytest.mark.xdist_group("object-servers"), pytest.mark.timeout(200)]
MatrixOf = Callable[[str], Matrix]
SEED = int(os.environ.get("SEED", "1"))
_SLOW = {Break.STALL_HEADERS, Break.STALL_BODY}
_SOURCE = random.Random(SEED)
CELLS = [
    (store, command, fault)
    for store, command in (("weed", "create"), ("azurite", "cache"), ("google", "cache"))
    for fault in _SOURCE.sample([each for each in Break if each not in _SLOW], tries(1, 8))
]


@pytest.fixture(scope="module")
def matrix_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MatrixOf]:
    with ExitStack() as stack:

        @cache
        def matrix_of(server: str) -> Matrix:
            running = request.getfixturevalue(server)
            running.create_bucket(CONTAINER)
            bed = open_bed(tmp_path_factory.mktemp("bed"), running.service(CONTAINER))
            return Matrix(stack.enter_context(bed), SEED)

        yield matrix_of


@pytest.mark.parametrize(("store", "command", "fault"), CELLS)
def test_a_fault_leaves_the_right_result_or_a_documented_failure_that_a_rerun_heals(
    matrix_of: MatrixOf, store: str, command: str, fault: Break
) -> None:
    outcome = matrix_of(store).cell(fault, command)
    assert outcome.wrong == [], outcome.where


def test_what_must_not_be_is_noticed(matrix_of: MatrixOf) -> None:
    matrix = matrix_of("weed")
    bed = matrix.bed
    command, reference = COMMANDS["create"], matrix.reference("create")
    bed.fresh(reference.before)
    package = next(key for key in reference.before if key.startswith("packages/"))

    def noticed(code: int = 6, said: str = "") -> str:
        done = subprocess.CompletedProcess([], code, "", said)
        return "; ".join(matrix._judge(command, reference, done))

    assert noticed() == ""
    assert "exit code 70" in noticed(70)
    assert "exit code 42" in noticed(42)
    assert "exit code 6" in noticed(6, "Traceback (most recent call last)")
    assert "another result: prefixes" in noticed(0)
    (bed.prefix / "bin").mkdir(parents=True)
    assert "without a marker" in noticed()
    bed.prefix.rename(bed.prefix.with_name(".env.asynccache-1"))
    assert "half-made .env.asynccache-1" in noticed()
    bed.fresh({**reference.before, package: b"other bytes"})
    assert "is not what its key says" in noticed()
    assert "was changed" in noticed()
    bed.fresh({key: stored for key, stored in reference.before.items() if key != package})
    assert "was lost" in noticed()
    bed.fresh({**reference.before, "envs/x/env": b"{"})
    assert "is no JSON" in noticed()
    assert wrong_objects({"envs/x/empty": b""}) == ["envs/x/empty is empty"]
