"""Tries the reader with many mutated packages.

python -m tests.fuzz.run --runs 1000000 --seed 1            # prints a tally; ends with 1 if anything is wrong
python -m tests.fuzz.run --seed 1 --only 4711 --keep DIR    # one package again, kept for whoever looks at it
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.inputs import make_input
from tests.fuzz.judge import Judge, Tally

_SHOWN = 4  # of what is wrong with one package
_REPORT = 20_000  # runs


def run(seed: int, numbers: range, directory: Path) -> Tally:
    """Try the packages with these numbers."""
    tally = Tally()
    judge = Judge(directory, tally)
    started = time.monotonic()
    for done, number in enumerate(numbers):
        known = len(tally.wrong)
        judge.judge(number, make_input(seed, number))
        for _, what in tally.wrong[known : known + _SHOWN]:
            print(f"WRONG  seed {seed} number {number}: {what[:600]}", flush=True)  # noqa: T201 - its result
        if done and done % _REPORT == 0:
            rate = done / (time.monotonic() - started)
            print(f"{done} runs, {rate:.0f} a second, {len(tally.wrong)} wrong", flush=True)  # noqa: T201 - its result
    return tally


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.run", description="Try the reader with mutated packages."
    )
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first package")
    parser.add_argument("--only", type=int, help="number of a single package")
    parser.add_argument("--keep", type=Path, help="directory for the files (default: a temporary one)")
    arguments = parser.parse_args()
    first = arguments.first if arguments.only is None else arguments.only
    numbers = range(first, first + (arguments.runs if arguments.only is None else 1))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        directory = arguments.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        tally = run(arguments.seed, numbers, directory)
    elapsed = time.monotonic() - started
    for outcome, count in sorted(tally.outcomes.items(), key=lambda item: -item[1]):
        print(f"{count:>9}  {outcome}")  # noqa: T201 - its result
    print(f"slowest: {tally.slowest[0]:.2f} of what it may take (number {tally.slowest[1]})")  # noqa: T201
    print(f"most memory: {tally.most_memory[0] >> 10} MiB (number {tally.most_memory[1]})")  # noqa: T201
    print(f"{len(numbers)} runs in {elapsed:.0f} s, {len(numbers) / elapsed:.0f} a second, {len(tally.wrong)} wrong")  # noqa: T201
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
