"""What the extension costs where flows are launched: importing Metaflow, and a flow whose environment is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from bench.bed import Bed
from bench.case import case
from bench.harness import Contender
from bench.results import CPU, PEAK, WALL, CaseResult, Metric

_IMPORT_CPU: Final = Metric("import_cpu", "CPU seconds of the import", "s")
_IMPORT_WALL: Final = Metric("import_wall", "wall seconds of the import", "s")
_FIRST: Final = Metric("first_task", "until the first step's first line", "s")
_IMPORT: Final = """
import json, os, time
cpu, wall = time.process_time(), time.perf_counter()
import metaflow
found = {"import_cpu": time.process_time() - cpu, "import_wall": time.perf_counter() - wall}
with open(os.environ["ASYNCCACHE_BENCH_RESULT"], "w") as file:
    json.dump(found, file)
"""
_FLOW: Final = """
import json
import os
import time

from metaflow import FlowSpec, step


class KnownFlow(FlowSpec):
    @step
    def start(self):
        with open(os.environ["ASYNCCACHE_BENCH_RESULT"], "w") as file:
            json.dump({"first_task": time.time() - float(os.environ["BENCH_STARTED"])}, file)
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    KnownFlow()
"""
_BYTECODE: Final = "unset PYTHONDONTWRITEBYTECODE"  # modules are compiled once, as on a user's machine
_ROUNDS_OF_IMPORT: Final = 4  # times as many as of others: it is short, and the difference small


@case("metaflow-import", "import metaflow", metrics=(_IMPORT_CPU, _IMPORT_WALL, WALL, PEAK))
def importing(bed: Bed, found: CaseResult) -> None:
    """What asynccache adds to `import metaflow`.

    Virtual environments of one interpreter with the same Metaflow and clients, from PyPI; in the second asynccache from
    a wheel of these sources, in the third metaflow-netflixext. The clocks are read around the import.
    """
    words = ("sh", "-c", f'{_BYTECODE}; cd "$0" && exec "$1" -c "$2"', "{scratch}")
    with bed.directory() as directory:
        contenders = [Contender(name, [*words, python, _IMPORT]) for name, python in _pythons(bed, directory).items()]
    bed.measure(*contenders, rounds=1)  # bytecode is compiled, files are in memory
    series = bed.measure(*contenders, rounds=bed.rounds if bed.quick else bed.rounds * _ROUNDS_OF_IMPORT)
    found.group("one import", series)
    more = series[1].median("import_cpu") - series[0].median("import_cpu")
    found.at_most("added to `import metaflow`, CPU", 100.0, more * 1e3, "ms")


@case("metaflow-submit", "Launching a flow whose environment is known", metrics=(_FIRST, WALL, CPU, PEAK))
def submitting(bed: Bed, found: CaseResult) -> None:
    """A flow whose environment is known, against Metaflow without.

    `python flow.py run`: two steps that do nothing, local datastore and metadata, one Python for all. With
    `--environment=conda` the environment (Python and what Metaflow needs) was resolved and made before, as on the
    second run of a flow; its tasks run in it. Compared with Metaflow alone, which looks at no environment.
    """
    with bed.directory() as directory:
        alone, ours, _other = _pythons(bed, directory).values()
        bed.run_once("metaflow_tasks.channel", out=str(directory))
        work = directory / "work"
        (work / ".metaflow").mkdir(parents=True)
        (work / "flow.py").write_text(_FLOW)
        variables = {
            "HOME": str(directory),
            "METAFLOW_USER": "bench",
            "METAFLOW_DEFAULT_DATASTORE": "local",
            "METAFLOW_DEFAULT_METADATA": "local",
            "METAFLOW_CONDA_DEPENDENCY_RESOLVER": "rattler",
            "ASYNCCACHE_CHANNELS": json.dumps([(directory / "channel").as_uri()]),
            "ASYNCCACHE_CACHE_DIR": str(directory / "cache"),
        }

        def launched(name: str, python: str, *words: str) -> Contender:
            begin = f'{_BYTECODE}; cd "$0" && export BENCH_STARTED=$(date +%s.%N) && exec "$@"'
            command = ["sh", "-c", begin, str(work), python, "flow.py", "--no-pylint", *words, "run"]
            return Contender(name, command, variables)

        contenders = [
            launched("Metaflow alone, no environment", alone),
            launched("asynccache installed, no environment", ours),
            launched("asynccache, --environment=conda", ours, "--environment=conda"),
        ]
        for contender in contenders:  # resolves, makes the environment, compiles bytecode
            contender.run(bed.scratch)
        series = bed.measure(*contenders)
    found.group("one run", series)
    more = series[2].median("first_task") - series[0].median("first_task")
    found.at_most("added until the first step's first line", 1.0, more, "s")
    found.notes.append(
        "metaflow-netflixext is left out: to launch a flow it needs a conda, mamba or micromamba executable, which no "
        "package of PyPI brings and which is downloaded otherwise."
    )


def _pythons(bed: Bed, directory: Path) -> dict[str, str]:
    """Return the interpreters of virtual environments, by what they have."""
    bed.run_once("metaflow_tasks.venvs", out=str(directory))
    pythons: dict[str, str] = json.loads((directory / "pythons.json").read_text("utf-8"))
    return pythons
