"""One of N parts of a job for concurrent workers, as schedulers number them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass

_ARRAYS: Final = (  # variables of a scheduler: which part from 0, how many, and the run
    ("JOB_COMPLETION_INDEX", "", ""),  # Kubernetes, Jobs with completion mode Indexed: they provide no more
    (
        "AWS_BATCH_JOB_ARRAY_INDEX",
        "AWS_BATCH_JOB_ARRAY_SIZE",
        "AWS_BATCH_JOB_ID",
    ),  # AWS Batch
)


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of one worker.

    Attributes:
        index: From 1.
        count: Number of parts.

    Raises:
        UsageError: There is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError("--shard is wrong", expected="I/N with 1 <= I <= N", found=str(self))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def of(cls, value: Shard | tuple[int, int] | None) -> Shard | None:
        """Return the part that a program names, (I, N) from 1."""
        return cls(*value) if isinstance(value, tuple) else value

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `I/N`.

        Raises:
            UsageError: Anything else.
        """
        index, separator, count = text.partition("/")
        if separator and index.isdecimal() and count.isdecimal():
            return cls(int(index), int(count))
        raise UsageError("--shard is wrong", expected="I/N with 1 <= I <= N, or auto", found=repr(text))


@dataclass(frozen=True, slots=True)
class ShardChoice:
    """A worker's part and run, from its arguments and its scheduler.

    Attributes:
        shard: Its part; None for all.
        run_id: Name of the run that all workers share; empty if none was given.
    """

    shard: Shard | None = None
    run_id: str = ""

    @classmethod
    def made(
        cls,
        environ: Mapping[str, str],
        *,
        shard: str | None = None,
        index: int | None = None,
        count: int | None = None,
        run_id: str | None = None,
    ) -> ShardChoice:
        """Combine options and variables.

        Args:
            environ: Variables of the process.
            shard: `I/N` from 1, or `auto` for the scheduler's variables.
            index: From 0, as schedulers count.
            count: Number of parts; with `auto` if the scheduler does not provide it.
            run_id: Name of the run.

        Raises:
            UsageError: They are missing, or contradict each other.
        """
        if shard == "auto":
            return cls._scheduled(environ, count, run_id)
        if shard is not None:
            if index is not None or count is not None:
                raise UsageError("--shard I/N says it all", hint="leave out --shard-index and --shard-count")
            return cls(Shard.parse(shard), run_id or "")
        if index is None and count is None:
            return cls(None, run_id or "")
        if index is None or count is None:
            raise UsageError("--shard-index and --shard-count belong together", hint="give both, or --shard I/N")
        if not 0 <= index < count:
            raise UsageError("--shard-index is wrong", expected=f"0 to {count - 1}", found=str(index))
        return cls(Shard(index + 1, count), run_id or "")

    @classmethod
    def _scheduled(cls, environ: Mapping[str, str], count: int | None, run_id: str | None) -> ShardChoice:
        for index_name, count_name, run_name in _ARRAYS:
            if (index := environ.get(index_name)) is None:
                continue
            said = environ.get(count_name) if count_name else None
            if count is None and said is None:
                raise UsageError(
                    f"{index_name} says which shard this is, and not of how many", hint="add --shard-count N"
                )
            try:
                total = count if count is not None else int(said or "")
                shard = Shard(int(index) + 1, total)
            except ValueError:
                raise UsageError(f"{index_name} is no number", expected="0, 1, ...", found=repr(index)) from None
            # every part of an array is named by the array followed by its own number
            named = environ.get(run_name, "").partition(":")[0] if run_name else ""
            return cls(shard, run_id or named)
        names = " or ".join(name for name, _count, _run in _ARRAYS)
        raise UsageError(
            "--shard auto finds no scheduler's index", expected=names, hint="give --shard-index K --shard-count N"
        )
