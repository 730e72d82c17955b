"""Which part a worker does, as its arguments and its scheduler say."""

import pytest

from asynccache.errors import UsageError
from asynccache.model.shard import Shard, ShardChoice


@pytest.mark.parametrize(
    ("environ", "options", "chosen"),
    [
        ({}, {}, ShardChoice()),
        ({}, {"shard": "2/8"}, ShardChoice(Shard(2, 8))),
        ({}, {"index": 0, "count": 8, "run_id": "r"}, ShardChoice(Shard(1, 8), "r")),
        ({"JOB_COMPLETION_INDEX": "7"}, {"shard": "auto", "count": 8}, ShardChoice(Shard(8, 8))),
        (
            {
                "AWS_BATCH_JOB_ARRAY_INDEX": "3",
                "AWS_BATCH_JOB_ARRAY_SIZE": "16",
                "AWS_BATCH_JOB_ID": "6c7b-a1:3",
            },
            {"shard": "auto"},
            ShardChoice(Shard(4, 16), "6c7b-a1"),
        ),
        ({"JOB_COMPLETION_INDEX": "7"}, {}, ShardChoice()),
    ],
)
def test_a_shard_is_chosen_by_options_or_by_the_scheduler(
    environ: dict[str, str], options: dict[str, object], chosen: ShardChoice
) -> None:
    assert ShardChoice.made(environ, **options) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("environ", "options", "said"),
    [
        ({}, {"shard": "0/8"}, "expected I/N with 1 <= I <= N, found 0/8"),
        ({}, {"shard": "eight"}, "found 'eight'"),
        ({}, {"shard": "1/8", "count": 8}, "--shard I/N says it all"),
        ({}, {"index": 3}, "belong together"),
        ({}, {"index": 8, "count": 8}, "expected 0 to 7, found 8"),
        ({}, {"shard": "auto", "count": 8}, "finds no scheduler's index"),
        ({"JOB_COMPLETION_INDEX": "0"}, {"shard": "auto"}, "add --shard-count N"),
        ({"JOB_COMPLETION_INDEX": "x"}, {"shard": "auto", "count": 2}, "JOB_COMPLETION_INDEX is no number"),
    ],
)
def test_what_says_no_shard_is_refused(environ: dict[str, str], options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        ShardChoice.made(environ, **options)  # type: ignore[arg-type]
