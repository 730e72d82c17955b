"""Many environments copied to a store of another kind and back, killed again and again.

    python -m tests.scale.replicate --environments 1000 --kills 10 --seed 1

Says what it took and what must not be: something missed or different, something copied twice beyond what was in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from asynccache.api import Session, Settings
from asynccache.store.open import open_store
from asynccache.store.options import store_options
from tests.support.command_line import ASYNCCACHE
from tests.support.many_environments import contents, write_environments
from tests.support.services import serving

IN_FLIGHT: Final = 16
_SMALL: Final = 16  # documents that are copied at once
_EACH: Final = 20  # packages of an environment


@dataclass(slots=True)
class Copied:
    """What copying one store into another took.

    Attributes:
        objects: How many the source has.
        told: Of how many of them it is told when they are copied; the histories of names are not among them.
        kills: Of a running process.
        seconds: Of all processes together.
        copied: Objects that were copied.
        copied_twice: Objects that were copied although they had been.
        fetched: How often one of the larger objects was begun to be read.
        larger: How many of these were copied.
        again: What one more run copied in the end.
        missed: Objects that the two stores do not have in the same size.
        findings: What an audit of the copy found.
        wrong: What must not be.
    """

    objects: int
    told: int
    kills: int = 0
    seconds: float = 0.0
    copied: int = 0
    copied_twice: int = 0
    fetched: int = 0
    larger: int = 0
    again: int = 0
    missed: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Find out what must not be."""
        in_flight = self.kills * IN_FLIGHT
        for said, count in (
            (f"{self.copied_twice} objects were copied twice", self.copied_twice),
            (f"{self.missed} objects are not the same in both stores", self.missed),
            (f"an audit found {self.findings}", sum(self.findings.values())),
            (f"a run after the last one copied {self.again} objects", self.again),
            (
                f"{self.copied} objects of {self.told} were copied",
                self.copied < self.told - self.kills * (IN_FLIGHT + _SMALL),
            ),
            (
                f"{self.fetched - self.larger} archives and packs were read twice, {in_flight} were in flight at kills",
                self.fetched > self.larger + 2 * in_flight,
            ),
        ):
            if count:
                self.wrong.append(said)


@dataclass(frozen=True, slots=True)
class Place:
    """A store and how it is reached.

    Attributes:
        root: Its address.
        settings: That say so.
        environment: Variables that let a client in.
    """

    root: str
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def moments(total: int, kills: int, rolls: random.Random) -> list[int]:
    """Return after how many objects to kill: one moment at random in each of so many equal parts, none in one more."""
    part = max(1, total // (kills + 1))
    return [number * part + rolls.randint(1, part) for number in range(kills)]


def killed(source: Place, target: Place, directory: Path, objects: int, kills: int, rolls: random.Random) -> Copied:
    """Copy a store; the process is killed so often, and the next one has another working directory.

    It is killed when so many objects are there in all as was drawn: however fast it is, so often.
    """
    directory.mkdir(parents=True)
    result = Copied(objects, _to_copy(source, target, directory))
    when = moments(result.told, kills, rolls)
    uploaded, started = Counter[str](), time.monotonic()
    number = 0
    while True:
        home = directory / f"home{number}"
        home.mkdir()
        was_killed = False
        process = _started(["replicate", "--from", source.root, "--to", target.root, "--json"], source, target, home)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event.get("event") == "PhaseStarted" and event["phase"] == "fetch":
                result.fetched += 1
            elif event.get("event") == "Uploaded":
                uploaded[event["key"]] += 1
                if not was_killed and result.kills < kills and len(uploaded) >= when[result.kills]:
                    process.kill()
                    was_killed = True
                    result.kills += 1
        process.stdout.close()
        code = process.wait()
        print(f"process {number}: {len(uploaded)} objects, {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
        shutil.rmtree(home)
        number += 1
        if code >= 0:
            break
    if code:
        result.wrong.append(f"the last run ended with {code}: {(directory / 'errors').read_text()[-500:]}")
    result.seconds = time.monotonic() - started
    result.copied, result.copied_twice = len(uploaded), sum(count > 1 for count in uploaded.values())
    result.larger = sum(1 for key in uploaded if key.startswith("packages/") or key.endswith("asynccache-pack-v1"))
    return result


def _to_copy(source: Place, target: Place, directory: Path) -> int:
    """Return of how many objects a run of the command is going to tell."""
    home = directory / "home"
    home.mkdir()
    words = ["replicate", "--from", source.root, "--to", target.root, "--dry-run", "--json"]
    process = _started(words, source, target, home)
    said = json.loads(process.communicate()[0].splitlines()[-1])
    return sum(tally["copied"] for tally in said["objects"].values())


def _started(words: Sequence[str], source: Place, target: Place, home: Path) -> subprocess.Popen[bytes]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "XDG_"))}
    said = {f"ASYNCCACHE_{name.upper()}": value for place in (source, target) for name, value in place.settings.items()}
    environ |= {**source.environment, **target.environment, **said, "HOME": str(home)}
    environ["ASYNCCACHE_IN_FLIGHT"] = str(IN_FLIGHT)
    with (home.parent / "errors").open("wb") as errors:
        return subprocess.Popen([ASYNCCACHE, *words], stdout=subprocess.PIPE, stderr=errors, env=environ)


async def compare(source: Place, target: Place, directory: Path, result: Copied) -> None:
    """Compare both stores by listing them, and audit the copy."""
    settings = Settings(store=target.root, cache_dir=directory / "looking", **source.settings, **target.settings)  # type: ignore[arg-type]
    found = []
    for place in (source, target):
        async with open_store(settings.other_root(place.root), store_options(settings)) as store:
            found.append(await contents(store))
    result.missed = sum(found[0].get(key) != found[1].get(key) for key in found[0].keys() | found[1].keys())
    async with Session(settings) as session:
        said = await session.audit(read_data=1.0)
        result.findings = {kind: count for kind, count in said.found.items() if count}
        result.again = sum(tally.copied for tally in (await session.replicate(source.root)).objects.values())


def there_and_back(
    places: Sequence[Place], directory: Path, *, environments: int, kills: int, seed: int
) -> list[Copied]:
    """Fill the first of several stores, and copy each into the next one; variables must let clients in."""
    first, rolls = places[0], random.Random(seed)
    settings = Settings(store=first.root, cache_dir=directory / "filling", **first.settings)  # type: ignore[arg-type]

    async def fill() -> int:
        async with open_store(settings.root, store_options(settings)) as store:
            await write_environments(
                store, directory / "made", environments=environments, packages=3 * environments, each=_EACH
            )  # fmt: skip
            return len(await contents(store))

    started = time.monotonic()
    objects = asyncio.run(fill())
    print(f"{objects} objects written in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    results = []
    for number, (source, target) in enumerate(pairwise(places)):
        aside = directory / str(number)
        result = killed(source, target, aside, objects, kills, rolls)
        asyncio.run(compare(source, target, aside, result))
        result.judge()
        results.append(result)
        print(f"{source.root} to {target.root}: {asdict(result)}", flush=True)  # noqa: T201 - its result
    return results


def main() -> None:
    """Run from the command line, between SeaweedFS and Azurite."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale.replicate", description="Copy many environments.")
    parser.add_argument("--environments", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replicate-")))
        s3, azure = (stack.enter_context(serving(kind, "replicate")) for kind in ("s3", "azure"))
        os.environ.update({**s3.environment, **azure.environment})
        places = [
            Place(service.root(name), service.setting(), service.environment)
            for service, name in ((s3, "first/conda_env"), (azure, "conda_env"), (s3, "back/conda_env"))
        ]
        results = there_and_back(
            places, directory, environments=arguments.environments, kills=arguments.kills, seed=arguments.seed
        )  # fmt: skip
    sys.exit(any(result.wrong or result.kills < arguments.kills for result in results))


if __name__ == "__main__":
    main()
