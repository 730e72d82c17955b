"""Runs the fault matrix, whole, for a store, or a cell of it, and writes its tables.

python -m tests.faults.run --seed 1 --jobs 2 --write docs/faults.md
python -m tests.faults.run --seed 1 --results FILE      # goes on where an interrupted run with this file ended
python -m tests.faults.run --seed 1 --store azure --cell 'flipped bit in the body/create'
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.faults.bed import CONTAINER, open_bed
from tests.faults.matrix import COMMANDS, Matrix
from tests.faults.page import STORES, with_table
from tests.support.breaking_proxy import Break
from tests.support.services import KINDS, serving

Cells = dict[tuple[str, Break, str], dict[str, Any]]
"""By store, fault and command."""


def try_column(seed: int, store: str, command: str, faults: list[Break]) -> None:
    """Try a command on a store with each fault, and print a line of JSON for each."""
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch, ExitStack() as stack:
        service = stack.enter_context(serving(store, CONTAINER)) if store in KINDS else None
        matrix = Matrix(stack.enter_context(open_bed(Path(scratch), service)), seed)
        for fault in faults:
            started = time.monotonic()
            outcome = matrix.cell(fault, command)
            taken = round(time.monotonic() - started, 1)
            line = {"store": store, "fault": fault, "command": command, "word": outcome.word, "where": outcome.where}
            print(json.dumps({**line, "wrong": outcome.wrong, "taken": taken}), flush=True)  # noqa: T201 - its result


def _column(seed: int, store: str, command: str, faults: list[Break], results: Path | None) -> Cells:
    """Run a column in a process of its own, with servers of its own."""
    words = [sys.executable, "-m", "tests.faults.run", "--store", store, "--column", command, "--seed", str(seed)]
    for fault in faults:
        words += ["--fault", fault]
    cells: Cells = {}
    if not faults:
        return cells
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            line = json.loads(text)
            cells[_key(line)] = line
            if results is not None:
                with results.open("a", encoding="utf-8") as file:
                    file.write(text)
            print(f"{store:>5} {command:>10}  {line['fault']:<62} {line['word']:<24} {line['where']}", flush=True)  # noqa: T201
            for each in line["wrong"]:
                print(f"WRONG  {each}", flush=True)  # noqa: T201
    if process.returncode:
        raise RuntimeError(f"the column of {command} on {store} ended with {process.returncode}")
    return cells


def _known(results: Path | None) -> Cells:
    if results is None or not results.exists():
        return {}
    lines = map(json.loads, results.read_text("utf-8").splitlines())
    return {_key(line): line for line in lines if not line["wrong"]}


def _key(line: dict[str, Any]) -> tuple[str, Break, str]:
    return line["store"], Break(line["fault"]), line["command"]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description="Run the fault matrix.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="columns at once")
    parser.add_argument("--store", choices=["", *STORES], default="", help="default: all")
    parser.add_argument("--cell", default="", help="FAULT/COMMAND; default: all")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    parser.add_argument("--column", choices=COMMANDS, help=argparse.SUPPRESS)
    parser.add_argument("--fault", choices=[*Break], action="append", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help="file that takes a line for each cell, and gives those it has")
    arguments = parser.parse_args()
    if arguments.column:
        faults = [Break(each) for each in arguments.fault or Break]
        try_column(arguments.seed, arguments.store, arguments.column, faults)
        return
    fault, _, command = arguments.cell.rpartition("/")
    if arguments.cell and (fault not in {*Break} or command not in COMMANDS):
        parser.error(f"no such cell: FAULT is one of {', '.join(Break)}; COMMAND one of {', '.join(COMMANDS)}")
    started = time.monotonic()
    cells = _known(arguments.results)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        stores = [arguments.store] if arguments.store else list(STORES)
        columns = [(store, each) for store in stores for each in ([command] if arguments.cell else COMMANDS)]
        faults = [Break(fault)] if arguments.cell else list(Break)

        def tried(column: tuple[str, str]) -> Cells:
            missing = [each for each in faults if (column[0], each, column[1]) not in cells]
            return _column(arguments.seed, *column, missing, arguments.results)

        for found in list(pool.map(tried, columns)):
            cells |= found
    elapsed = time.monotonic() - started
    wrong = [line for line in cells.values() if line["wrong"]]
    for word, count in Counter(line["word"] for line in cells.values()).most_common():
        print(f"{count:>5}  {word}")  # noqa: T201
    print(f"{len(cells)} cells with seed {arguments.seed} in {elapsed:.0f} s, {len(wrong)} wrong")  # noqa: T201
    if arguments.write and not arguments.cell and not wrong:
        page = arguments.write.read_text("utf-8")
        for store in stores:
            words = {key[1:]: str(line["word"]) for key, line in cells.items() if key[0] == store}
            page = with_table(page, store, words, arguments.seed)
        arguments.write.write_text(page, "utf-8")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
