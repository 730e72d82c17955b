"""The fault matrix: 28 ways in which an answer breaks, 11 commands that must not care, and what is judged of each cell.

A cell follows from the seed, the fault and the command: which side breaks (the channel, the store), at which of the
answers that can break so, and whether once or three times in a row.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asynccache.hydrate.prefix import read_marker
from tests.faults.bed import ENVIRONMENT, Bed, Objects
from tests.support.breaking_proxy import SUITABLE, Break

_CODES: Final = Path(__file__).parents[2] / "docs" / "errors.md"
_DEFECT: Final = 70
_PACKAGES: Final = "packages/"
_NEW: Final = "team/env:v2"
_HALF: Final = "half-made"
_WHEN: Final = re.compile(r', "modified": [^,}]+')


@dataclass(frozen=True, slots=True)
class Command:
    """A column of the table.

    Attributes:
        words: What is typed.
        before: What the store holds: `empty`, `cached` (the environment and its packages) or `partial` (half of them).
        tells: Whether what it prints is its result.
    """

    words: tuple[str, ...]
    before: str
    tells: bool = False


COMMANDS: Final = {
    "cache": Command(("cache", "--from", "list.txt", "--format", ".conda"), "empty"),
    "backfill": Command(("backfill", "--to", ".conda"), "cached"),
    "warm": Command(("warm", "--env", ENVIRONMENT, "--to", "both"), "partial"),
    "verify": Command(("verify",), "cached"),
    "resolve": Command(("resolve", "-f", "one.yml", "--python", "3.11.*", "--alias", ENVIRONMENT), "empty"),
    "create": Command(("create", ENVIRONMENT, "--prefix", "made/env"), "partial"),
    "pack": Command(("pack", ENVIRONMENT), "cached"),
    "run": Command(("run", ENVIRONMENT, "--", "hello"), "cached", tells=True),
    "env import": Command(("env", "import", "list.txt", "--alias", ENVIRONMENT), "empty"),
    "env alias": Command(("env", "alias", ENVIRONMENT, _NEW), "cached"),
    "ls": Command(("ls", "--json"), "cached", tells=True),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a command leaves.

    Attributes:
        packages: sha256 by key.
        documents: Keys of everything of environments.
        prefixes: Every path of the environments on this machine, with what tells it from another.
        said: What it printed, where that is its result.
    """

    packages: dict[str, str]
    documents: tuple[str, ...]
    prefixes: tuple[str, ...]
    said: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a command does when nothing breaks.

    Attributes:
        result: What it leaves.
        before: What the store holds at first.
        suitable: By side and fault, how many answers can break so.
    """

    result: Result
    before: Objects
    suitable: dict[tuple[str, Break], int]


@dataclass(slots=True)
class Outcome:
    """A cell.

    Attributes:
        word: What the table says.
        where: Side, number of the answer and how often it broke.
        wrong: What must not be; empty when all is well.
    """

    word: str
    where: str = ""
    wrong: list[str] = field(default_factory=list)


class Matrix:
    """Tries cells on a bed.

    Args:
        bed: A running one.
        seed: Of everything that is chosen.
    """

    def __init__(self, bed: Bed, seed: int) -> None:
        self.bed = bed
        self._seed = seed
        self._stores: dict[str, Objects] = {"empty": {}}
        self._references: dict[str, Reference] = {}
        self._codes = {int(code) for code in re.findall(r"^\| ([0-9]+) \|", _CODES.read_text("utf-8"), re.MULTILINE)}

    def cell(self, fault: Break, name: str) -> Outcome:
        """Try a cell."""
        command, reference = COMMANDS[name], self.reference(name)
        source = random.Random(f"{self._seed}/{fault}/{name}")
        sides = [side for side in self.bed.sides if reference.suitable[side, fault]]
        if not sides:
            return Outcome("-")
        side = source.choice(sides)
        skip, times = source.randrange(reference.suitable[side, fault]), source.choice((1, 1, 3))
        self.bed.fresh(reference.before)
        proxy = self.bed.sides[side]
        proxy.arm(fault, skip=skip, times=times, seed=source.randrange(1 << 30))
        outcome = Outcome("", f"{side}, answer {skip + 1} of {reference.suitable[side, fault]}, {times} times")
        try:
            done = self.bed.run(command.words)
        except subprocess.TimeoutExpired:
            outcome.wrong.append("it hangs")
            return outcome
        finally:
            broken = proxy.broken
            self._disarm()
        outcome.wrong += self._judge(command, reference, done)
        self._rerun(command, reference, outcome)
        again = "same result" if broken else "not met"
        outcome.word = again if done.returncode == 0 else f"exit {done.returncode}, rerun fine"
        if outcome.wrong:
            outcome.word = "WRONG"
        return outcome

    def reference(self, name: str) -> Reference:
        """Run a command with nothing broken, once."""
        if name not in self._references:
            command = COMMANDS[name]
            before = self._before(command.before)
            self.bed.fresh(before)
            self._disarm()
            done = self.bed.run(command.words)
            if done.returncode:
                raise RuntimeError(f"{name} fails with nothing broken: {done.stderr}{done.stdout}")
            suitable = {
                (side, fault): sum(SUITABLE[fault](each) for each in proxy.seen)
                for side, proxy in self.bed.sides.items()
                for fault in Break
            }
            self._references[name] = Reference(self._result(command, done), before, suitable)
        return self._references[name]

    def _before(self, what: str) -> Objects:
        if "cached" not in self._stores:
            self.bed.fresh({})
            self._disarm()
            done = self.bed.run(COMMANDS["env import"].words)
            if done.returncode:
                raise RuntimeError(f"the environment cannot be made: {done.stderr}")
            whole = self.bed.objects()
            away = [key for key in sorted(whole) if key.startswith(_PACKAGES)][::2]
            self._stores |= {"cached": whole, "partial": {k: v for k, v in whole.items() if k not in away}}
        return self._stores[what]

    def _disarm(self) -> None:
        for proxy in self.bed.sides.values():
            proxy.arm(None)

    def _rerun(self, command: Command, reference: Reference, outcome: Outcome) -> None:
        try:
            done = self.bed.run(command.words)
        except subprocess.TimeoutExpired:
            outcome.wrong.append("the rerun hangs")
            return
        outcome.wrong += [f"rerun: {each}" for each in self._judge(command, reference, done)]
        if done.returncode:
            outcome.wrong.append(f"the rerun ends with {done.returncode}: {done.stderr[-600:]}")

    def _judge(self, command: Command, reference: Reference, done: subprocess.CompletedProcess[str]) -> list[str]:
        wrong = []
        if done.returncode not in self._codes - {_DEFECT} or "Traceback" in done.stderr:
            wrong.append(f"exit code {done.returncode}: {done.stderr[-1500:]}")
        objects = self.bed.objects()
        wrong += wrong_objects(objects)
        for key, data in reference.before.items():
            if key not in objects:
                wrong.append(f"{key} was lost")
            elif key.startswith(_PACKAGES) and objects[key] != data:
                wrong.append(f"{key} was changed")
        result = self._result(command, done)
        if more := set(result.packages.items()) - set(reference.result.packages.items()):
            wrong.append(f"packages that the reference has not: {sorted(more)}")
        if result.prefixes and result.prefixes != reference.result.prefixes:
            wrong.append(
                f"the environment differs: {sorted(set(result.prefixes) ^ set(reference.result.prefixes))[:4]}"
            )
        wrong += [each for each in result.prefixes if each.startswith(_HALF)]
        if done.returncode == 0 and result != reference.result:
            wrong.append(f"another result: {_difference(result, reference.result)}")
        return wrong

    def _result(self, command: Command, done: subprocess.CompletedProcess[str]) -> Result:
        objects = self.bed.objects()
        return Result(
            {k: hashlib.sha256(data).hexdigest() for k, data in objects.items() if k.startswith(_PACKAGES)},
            tuple(sorted(k for k in objects if k.startswith("envs/"))),
            tuple(self._prefixes()),
            _WHEN.sub("", done.stdout) if command.tells else "",
        )

    def _prefixes(self) -> list[str]:
        named = sorted(self.bed.directory.glob(".cache/asynccache/envs/*"))
        made = [path for path in (self.bed.prefix, *named) if path.is_dir()]
        found = [f"{_HALF} {p.name}" for p in self.bed.prefix.parent.glob(".*")]
        for prefix in made:
            if prefix.name.startswith("."):
                found.append(f"{_HALF} {prefix.name}")
                continue
            if read_marker(prefix) is None:
                found.append(f"{_HALF} {prefix.name}, without a marker")
            found += [_messages(prefix, path) for path in sorted(prefix.rglob("*"))]
        return found


def _messages(prefix: Path, path: Path) -> str:
    """Return a path with its mode and content; what says when and from where is left out."""
    content = ""
    if path.is_file() and not path.is_symlink() and path.parent.name != "conda-meta":
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{path.relative_to(prefix)} {path.lstat().st_mode:o} {content}"


def wrong_objects(objects: Objects) -> list[str]:
    wrong = []
    for key, data in objects.items():
        if not data:
            wrong.append(f"{key} is empty")
        if key.startswith(_PACKAGES):
            digest = key.split("/")[-2]
            if hashlib.new("md5" if len(digest) == 32 else "sha256", data).hexdigest() != digest:
                wrong.append(f"{key} is not what its key says")
        elif key.endswith((".json", "/env")):
            try:
                json.loads(data)
            except ValueError:
                wrong.append(f"{key} is no JSON")
    return wrong


def _difference(result: Result, reference: Result) -> str:
    for name in ("packages", "documents", "prefixes", "said"):
        ours, theirs = getattr(result, name), getattr(reference, name)
        if ours != theirs:
            return f"{name}: {str(ours)[-400:]} instead of {str(theirs)[-400:]}"
    return ""
