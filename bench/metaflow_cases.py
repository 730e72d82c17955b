"""What the extension costs where flows are launched: importing Metaflow, and a flow whose environment is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.bed import Bed
from bench.harness import Contender, run_process
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Metric, Target

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


def importing(bed: Bed) -> CaseResult:
    """`import metaflow` with nothing, with ours, and with the other extension."""
    result = CaseResult(
        "metaflow-import",
        "import metaflow",
        "Virtual environments of one interpreter with the same Metaflow and clients, from PyPI; in the second "
        "asynccache from a wheel of these sources, in the third metaflow-netflixext. The clocks are read around the "
        "import.",
        metrics=(_IMPORT_CPU, _IMPORT_WALL, WALL, PEAK),
    )
    with bed.directory() as directory:
        bed.run_once("metaflow-venvs", out=str(directory))
        pythons = json.loads((directory / "pythons.json").read_text("utf-8"))

    def start(python: str) -> Callable[[Path], Sequence[str]]:
        return lambda run: ["sh", "-c", f'{_BYTECODE}; cd "$0" && exec "$1" -c "$2"', str(run), python, _IMPORT]

    contenders = [Contender(name, start(python)) for name, python in pythons.items()]
    bed.measure(contenders, rounds=1)  # bytecode is compiled, files are in memory
    series = bed.measure(contenders, rounds=bed.rounds if bed.quick else bed.rounds * _ROUNDS_OF_IMPORT)
    result.groups.append(Group("one import", series))
    more = (series[1].median("import_cpu") - series[0].median("import_cpu")) * 1e3
    result.targets = [Target("added to `import metaflow`, CPU", 100.0, more, False, "ms")]
    return result


def submitting(bed: Bed) -> CaseResult:
    """A flow of two trivial steps, its environment known and made, against Metaflow without environments."""
    result = CaseResult(
        "metaflow-submit",
        "Launching a flow whose environment is known",
        "`python flow.py run`: two steps that do nothing, local datastore and metadata, one Python for all. With "
        "`--environment=conda` the environment (Python and what Metaflow needs) was resolved and made before, as on "
        "the second run of a flow; its tasks run in it. Compared with Metaflow alone, which looks at no environment.",
        metrics=(_FIRST, WALL, CPU, PEAK),
    )
    with bed.directory() as directory:
        bed.run_once("metaflow-venvs", out=str(directory))
        pythons = list(json.loads((directory / "pythons.json").read_text("utf-8")).values())
        bed.run_once("metaflow-channel", out=str(directory))
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

        def launch(python: str, *words: str) -> Callable[[Path], Sequence[str]]:
            command = [python, "flow.py", "--no-pylint", *words, "run"]
            begin = f'{_BYTECODE}; cd "$0" && export BENCH_STARTED=$(date +%s.%N) && exec "$@"'
            return lambda _run: ["sh", "-c", begin, str(work), *command]

        contenders = [
            Contender("Metaflow alone, no environment", launch(pythons[0]), variables),
            Contender("asynccache installed, no environment", launch(pythons[1]), variables),
            Contender("asynccache, --environment=conda", launch(pythons[1], "--environment=conda"), variables),
        ]
        for contender in contenders:  # resolves, makes the environment, compiles bytecode
            with bed.directory() as first:
                run_process(contender.command(first), first, contender.environment)
        series = bed.measure(contenders)
    result.groups.append(Group("one run", series))
    more = series[2].median("first_task") - series[0].median("first_task")
    result.targets = [Target("added until the first step's first line", 1.0, more, False, "s")]
    result.notes.append(
        "metaflow-netflixext is left out: to launch a flow it needs a conda, mamba or micromamba executable, which no "
        "package of PyPI brings and which is downloaded otherwise."
    )
    return result
