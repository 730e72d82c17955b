"""From requirements to a running Python where there is nothing yet, the store filled on the way."""

from __future__ import annotations

import json
from typing import Final

from bench.bed import LATENCY, LOCAL, Bed
from bench.case import case
from bench.harness import Contender, serving, worker
from bench.peers import peer
from bench.results import CPU, FETCHED, PEAK, RUN, WALL, CaseResult, Metric

_READ: Final = Metric("read", "bytes read from files", "MB")
_BACK: Final = Metric("read_back", "read back from the store", "MB")


@case("cold", "From requirements to a running Python", metrics=(WALL, RUN, CPU, PEAK, FETCHED, _READ, _BACK))
def cold(bed: Bed, found: CaseResult) -> None:
    """An environment.yml to a running Python, nothing on the machine and nothing in the store.

    Each contender is a process with its start: it reads the index of a channel 20 ms away, solves, fetches 33 packages,
    half of them .tar.bz2, and makes the environment. Ours also fills a local store, each archive checked: as published,
    and all in .conda. In two steps: everything is cached first, then the environment is made from the store, as
    `resolve` and `create` do one after the other. py-rattler alone (and micromamba, where it is found) fetches and
    links the same packages and fills nothing. Bytes read are those of our process from files; of children that decode
    bzip2 they are left out.
    """
    with bed.directory() as directory:
        bed.run_once("cold_tasks.inputs", out=str(directory), quick=bed.quick)
        said = json.loads((directory / "inputs.json").read_text("utf-8"))
        waiting = ("--latency", str(LATENCY), "--ttl", "3600")
        with serving("tests.support.fault_server", said["root"], *waiting) as (url, _pid):
            file = directory / "environment.yml"
            file.write_text(json.dumps({"channels": [url], "dependencies": said["specs"]}), encoding="utf-8")

            def ours(name: str, form: str, *, apart: bool = False) -> Contender:
                settings = LOCAL.settings(
                    channels=[url], preferred_format=form, datastore_root="{scratch}/here", username="bench"
                )
                return LOCAL.contender(name, "cold_tasks.create", settings=settings, file=str(file), apart=apart)

            series = bed.measure(
                ours("asynccache", "none"),
                ours("asynccache, in two steps", "none", apart=True),
                ours("asynccache, .conda", ".conda"),
                ours("asynccache, .conda, in two steps", ".conda", apart=True),
                *_others(url, said["specs"]),
            )
    found.group(f"{len(said['specs'])} requirements", series)
    mine, apart, derived, derived_apart, *others = series
    found.beside("requirements to Python, the store filled as published", mine, *others, wall=0.9)
    found.beside("requirements to Python, the store filled with .conda", derived, *others)
    for what, one, two in (("as published", mine, apart), (".conda", derived, derived_apart)):
        found.at_most(f"bytes read back from the store, {what}", 0.0, one.median("read_back") / 1e6, "MB")
        found.at_most(f"CPU by that of two steps, {what}", 0.9, one.median("cpu") / two.median("cpu"), "x")
    for peer_series in others:
        share = mine.median("cpu") / peer_series.median("cpu")
        found.at_most(f"CPU by that of {peer_series.name}, which fills no store", 1.0, share, "x")


def _others(url: str, specs: list[str]) -> list[Contender]:
    arguments = {"channel": url, "prefix": "{scratch}/env", "cache": "{scratch}/cache", "specs": specs}
    others = [Contender("py-rattler", worker("cold_tasks.rattler", **arguments))]
    program = peer("micromamba")
    if program:
        words = [program, "create", "--yes", "--quiet", "--no-pyc", "--override-channels", "-c", url]
        words += ["--root-prefix", "{scratch}/root", "--prefix", "{scratch}/env", *specs]
        others.append(
            Contender("micromamba --no-pyc", ["sh", "-c", '"$@" && {scratch}/env/bin/python -c pass', "-", *words])
        )
    return others
