"""Transmuting local files: several at once, each on its own core, the largest first, or it is the last one, alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from asynccache.archive import Limits, Receipt, bzip2_children, transmute
from asynccache.archive.second_opinion import opinion_of
from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ObjectNotFoundError, UsageError, raise_failures
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.package import Format, split_filename
from asynccache.node.disk import disk_errors
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import outcome_of, run_together
from asynccache.runtime.threads import Threads


@dataclass(frozen=True, slots=True)
class Conversion(Documented):
    """What became of one file.

    Attributes:
        source: The file.
        target: The file that was made.
        receipt: Digests, level, members; None if it failed.
        error: Why it failed; None if it did not.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("source", "target", "receipt", "*error")

    source: Path
    target: Path
    receipt: Receipt | None
    error: AsyncCacheError | None = None


@dataclass(frozen=True, slots=True)
class Conversions(Documented):
    """What became of several files.

    Attributes:
        results: One per file, in the order in which they ended.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("results as files",)

    results: tuple[Conversion, ...]

    def raise_for_failures(self) -> None:
        """Raise when a file was not converted.

        Raises:
            AsyncCacheError: The failure, when it is the only file.
            PartialFailureError: Why, by file.
        """
        errors = {str(result.source): result.error for result in self.results if result.error is not None}
        asked = len(self.results)
        raise_failures(f"{len(errors)} of {asked} files were not converted", errors, asked=asked)


def target_path(source: Path, to: Format, out: Path | None) -> Path:
    """Return where the other format of a file goes: beside it, or into `out`.

    Raises:
        UsageError: Not a conda package's file name, or the file has that format already.
    """
    stem, fmt = split_filename(source.name)
    if fmt.kind != "conda":
        raise UsageError(f"{source} is not a conda package", expected=".conda or .tar.bz2", found=fmt.value)
    if fmt == to:
        raise UsageError(f"{source} is a {to} archive already")
    return (out or source.parent) / (stem + to)


def _work(file: Path) -> int | None:
    """Return how much work a file is, 0 for one that will be refused; None if it is not there. Blocking."""
    try:
        return split_filename(file.name)[1].work(file.stat().st_size)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UsageError, OSError):
        return 0


async def transmute_files(
    settings: Settings,
    files: Sequence[Path],
    to: Format,
    *,
    out: Path | None = None,
    check_with: str | None = None,
    done: Callable[[Conversion], object] | None = None,
) -> Conversions:
    """Convert files; one that fails does not stop the others.

    Args:
        settings: How: `zstd_level`, `verify_transmute`, `cpu_slots`, and what an archive may ask of this machine.
        files: Archives.
        to: The format to make.
        out: Directory for the results; beside each source when None.
        check_with: Who compares each result with its source as well, before it is there: `cph`.
        done: Called with each file as it ends.

    Raises:
        DiskError: `out` cannot be made.
        UsageError: There is nobody of that name who checks.
    """
    opinion = opinion_of(check_with)
    budget = Budget(settings.cpu_slots, "cores")
    limits, level, verify = Limits.of(settings), settings.zstd_level, settings.verify_transmute
    results: list[Conversion] = []

    async def converted(source: Path, work: int | None) -> Conversion:
        if work is None:
            raise ObjectNotFoundError(f"{source} does not exist", hint="check the path")
        target = target_path(source, to, out)
        async with budget.borrow_up_to(2, work=work) as threads_given:
            convert_with = partial(
                transmute, level=level, verify=verify, threads=threads_given, limits=limits, opinion=opinion
            )
            receipt = await threads.work(lambda stop: convert_with(source, target, cancelled=stop))
        return Conversion(source, target, receipt)

    async def convert(source: Path, work: int | None) -> None:
        outcome = await outcome_of(converted(source, work))
        result = outcome if isinstance(outcome, Conversion) else Conversion(source, source, None, outcome)
        results.append(result)
        if done is not None:
            done(result)

    with Threads(settings.cpu_slots, closing=bzip2_children.end_idle) as threads:
        if out is not None:
            with disk_errors(out):
                await threads.run(out.mkdir, parents=True, exist_ok=True)
        works = await threads.run(lambda: [(file, _work(file)) for file in files])
        works.sort(key=lambda each: -(each[1] or 0))  # who finds a core idle takes it at once
        await run_together([convert(file, work) for file, work in works])
    return Conversions(tuple(results))
