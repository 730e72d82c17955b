"""Transmuting local files: several at once, each on its own core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from asynccache.archive import Limits, Receipt, bzip2_children, transmute
from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ObjectNotFoundError, PartialFailureError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document, plain
from asynccache.model.package import Format, split_filename
from asynccache.node.disk import disk_errors
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import outcome_of, run_together
from asynccache.runtime.threads import Threads


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of one file.

    Attributes:
        source: The file.
        target: The file that was made.
        receipt: Digests, level, members; None when it failed.
        error: Why it failed; None when it did not.
    """

    source: Path
    target: Path
    receipt: Receipt | None
    error: AsyncCacheError | None = None

    def as_document(self) -> dict[str, object]:
        """Return the result as plain values."""
        receipt = {} if self.receipt is None else {"receipt": self.receipt.as_document()}
        return {**document(self, "source", "target"), **receipt, **(self.error.as_document() if self.error else {})}


@dataclass(frozen=True, slots=True)
class Conversions:
    """What became of several files.

    Attributes:
        results: One per file, in the order in which they ended.
    """

    results: tuple[Conversion, ...]

    def raise_for_failures(self) -> None:
        """Raise when a file was not converted.

        Raises:
            AsyncCacheError: The failure, when it is the only file.
            PartialFailureError: Why, by file.
        """
        errors = {str(result.source): result.error for result in self.results if result.error is not None}
        if errors and len(self.results) == 1:
            raise next(iter(errors.values()))
        if errors:
            raise PartialFailureError(f"{len(errors)} of {len(self.results)} files were not converted", errors)

    def as_document(self) -> dict[str, object]:
        """Return the results as plain values."""
        return {"files": plain(self.results)}


def target_path(source: Path, to: Format, out: Path | None) -> Path:
    """Return where the other form of a file goes: beside it, or into `out`.

    Raises:
        UsageError: Not a conda package's file name, or the file has that form already.
    """
    stem, fmt = split_filename(source.name)
    if fmt.kind != "conda":
        raise UsageError(f"{source} is not a conda package", expected=".conda or .tar.bz2", found=fmt.value)
    if fmt == to:
        raise UsageError(f"{source} is a {to} archive already")
    return (out or source.parent) / (stem + to)


async def transmute_files(
    settings: Settings,
    files: Sequence[Path],
    to: Format,
    *,
    out: Path | None = None,
    done: Callable[[Conversion], object] | None = None,
) -> Conversions:
    """Convert files; one that fails does not stop the others.

    Args:
        settings: How: `zstd_level`, `verify_transmute`, `cpu_slots`, and what an archive may ask of this machine.
        files: Archives.
        to: The form to make.
        out: Directory for the results; beside each source when None.
        done: Told of each file as it ends.

    Raises:
        DiskError: `out` cannot be made.
    """
    budget = Budget(settings.cpu_slots, "cores")
    limits, level, verify = Limits.of(settings), settings.zstd_level, settings.verify_transmute
    results: list[Conversion] = []

    async def converted(source: Path) -> Conversion:
        if not await threads.run(source.exists):
            raise ObjectNotFoundError(f"{source} does not exist", hint="check the path")
        target = target_path(source, to, out)
        async with budget.borrow_up_to(2) as threads_given:
            convert_with = partial(transmute, level=level, verify=verify, threads=threads_given, limits=limits)
            receipt = await threads.work(lambda stop: convert_with(source, target, cancelled=stop))
        return Conversion(source, target, receipt)

    async def convert(source: Path) -> None:
        outcome = await outcome_of(converted(source))
        result = outcome if isinstance(outcome, Conversion) else Conversion(source, source, None, outcome)
        results.append(result)
        if done is not None:
            done(result)

    with Threads(settings.cpu_slots, closing=bzip2_children.end_idle) as threads:
        if out is not None:
            with disk_errors(out):
                await threads.run(out.mkdir, parents=True, exist_ok=True)
        await run_together([convert(file) for file in files])
    return Conversions(tuple(results))
