"""What it costs to read archives as strictly as we do."""

from __future__ import annotations

from typing import Final

from bench.bed import Bed
from bench.case import case
from bench.harness import Contender, worker
from bench.results import CaseResult, Metric

_METRICS: Final = (
    Metric("read_cpu", "CPU of reading", "s"),
    Metric("decode_cpu", "CPU of decoding", "s"),
    Metric("worst_ratio", "worst ratio of the two", "x"),
    Metric("worst_share", "worst share of what a package may take", "x"),
    Metric("unpacked_ratio", "largest unpacked by packed", "x"),
    Metric("packages", "packages", ""),
    Metric("refused", "refused", ""),
)


@case("reading", "Reading archives", metrics=_METRICS, plotted=())
def read(bed: Bed, found: CaseResult) -> None:
    """Reading an archive to its end, every header checked, against bare decoding.

    CPU seconds of `check`, which `cache` and `verify` use, and of decoding the same bytes with the same library and
    doing nothing with them; of three tries each the fastest. Both with the standard library's bzip2, in one process. A
    package may take 3 times what decoding takes, 0.2 ms for each member and 10 ms. Packages are those of the collection
    of real packages where it is there, else synthetic ones; what is refused (damaged on purpose) is not measured.
    """
    from tests.support.testdata import real_packages  # noqa: PLC0415 - only this case needs it

    real = [str(package.path) for package in real_packages()]
    files = real if real and not bed.quick else [str(archive.path) for archive in bed.inputs("mix")]
    (series,) = bed.measure(Contender("asynccache", worker("reading_tasks.reading", files=files)), rounds=1)
    found.group(f"{len(files)} {'real' if files is real else 'synthetic'} packages", [series], compared=False)
    found.at_most("what the slowest package takes of what it may", 1.0, series.median("worst_share"), "x")
