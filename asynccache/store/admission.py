"""Who may write to a store, and who has written: a floor that operators set, and a daily mark of each version of
asynccache.

    asynccache/format-floor                      the oldest format of a client that may write
    asynccache/writers/FORMAT/VERSION/DAY.json   this version wrote on this day (UTC)

Versions from before this feature leave no marks and do not obey the floor.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from asynccache import __version__
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError, StoreRefusedError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.node.json_text import read_json
from asynccache.runtime.late_loop import in_thread
from asynccache.store import layout
from asynccache.store.base import Store

FORMAT: Final = 1
"""What this version writes and knows of; raised when older clients would do harm to what newer ones write."""
LATELY: Final = 30  # days
_FLOOR: Final = f"{layout.OWN}/format-floor"
WRITERS: Final = f"{layout.OWN}/writers/"
_HOW: Final = "`asynccache floor` shows and sets it"


@dataclass(frozen=True, slots=True)
class Floor(Documented):
    """The oldest format that may write.

    Attributes:
        format: 0 for any.
        by: Who set it; empty if it was never set.
        on: Day on which it was set.
    """

    format: int = 0
    by: str = ""
    on: str = ""


@dataclass(frozen=True, slots=True)
class Writer(Documented):
    """A version of asynccache that has written to a store lately.

    Attributes:
        version: The version.
        format: Its format.
        last: Last day on which it wrote, as `2026-01-31`.
    """

    version: str
    format: int
    last: str

    def __str__(self) -> str:
        return f"{self.version} (last on {self.last})"


@dataclass(frozen=True, slots=True)
class Writers(Documented):
    """Who has written to a store lately, and who may.

    Attributes:
        floor: The oldest format that may write.
        versions: Versions that wrote in the last 30 days, the oldest version first.
    """

    floor: Floor = field(default_factory=Floor)
    versions: tuple[Writer, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What an operator should fix, one sentence each."""
        ours, least = _number(__version__), max(self.floor.format, FORMAT)
        older = [w for w in self.versions if w.format < least or _number(w.version) < ours]
        if not older:
            return []
        versions = ", ".join(map(str, older))
        return [f"older versions of asynccache write to this store: {versions}; update them to {__version__}"]


async def read_floor(store: Store) -> Floor:
    """Return who may write.

    Raises:
        IntegrityError: The object is not a floor.
        StoreError: The store cannot be read.
    """
    try:
        data = await store.get(_FLOOR)
    except (ObjectNotFoundError, StoreRefusedError):  # a user who may not list gets "forbidden" for an absent object
        return Floor()
    try:
        said = read_json(data)
        found = Floor(int(said["format"]), str(said.get("by", "")), str(said.get("on", "")))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise IntegrityError(f"{_FLOOR} in {store.address} says no format", hint=_HOW) from exc
    return found


async def set_floor(store: Store, wanted: int, by: str) -> Floor:
    """Set who may write from now on.

    Args:
        store: The store.
        wanted: The oldest format; 0 for any.
        by: Who sets it.

    Raises:
        UsageError: This version itself does not have such a format.
        StoreError: The store cannot be written.
    """
    if not 0 <= wanted <= FORMAT:
        raise UsageError("there is no such format, or this version could not write any more", expected=f"0 to {FORMAT}")
    floor = Floor(wanted, by, _today().isoformat())
    await store.put(_FLOOR, json.dumps(floor.as_document()).encode())
    return floor


async def read_writers(store: Store) -> Writers:
    """Return who has written lately and who may, with two requests.

    Raises:
        AsyncCacheError: The store cannot be read, or its floor is invalid.
    """
    since = (_today() - timedelta(days=LATELY)).isoformat()
    last: dict[tuple[int, str], str] = {}
    async for info in store.scan(WRITERS):
        number, _, rest = info.key.removeprefix(WRITERS).partition("/")
        version, _, name = rest.partition("/")
        day = name.removesuffix(".json")
        if number.isdecimal() and _number(version) and day != name and _is_day(day) and day >= since:
            last[int(number), version] = max(day, last.get((int(number), version), ""))
    found = [Writer(version, number, day) for (number, version), day in last.items()]
    return Writers(await read_floor(store), tuple(sorted(found, key=lambda w: (_number(w.version), w.format))))


@dataclass(frozen=True, slots=True)
class Admission:
    """Lets this version write to a store, once it is opened (see `Store.admit`).

    Attributes:
        cache_dir: Where this machine remembers that this version has left its mark today.
    """

    cache_dir: Path

    async def check(self, store: Store) -> None:
        """Check whether this version may write.

        Raises:
            StoreRefusedError: The store's floor is above its format.
            AsyncCacheError: The floor cannot be read.
        """
        floor = await read_floor(store)
        if floor.format > FORMAT:
            who = f", set by {floor.by} on {floor.on}" if floor.by else ""
            raise StoreRefusedError(
                f"{store.address} takes nothing from this version of asynccache ({__version__})",
                expected=f"format {floor.format} or later{who}",
                found=f"format {FORMAT}",
                hint="update asynccache",
            )

    async def mark(self, store: Store) -> None:
        """Record the version once a day. A mark that cannot be left is not a failure."""
        day = _today().isoformat()
        place = hashlib.sha256(store.root.identity.encode()).hexdigest()[:32]
        memory, said = self.cache_dir / "writers" / place, f"{FORMAT} {__version__} {day}"
        if await in_thread(_read, memory) == said:
            return
        document = {"format": FORMAT, "version": __version__, "day": day}
        # another machine may have left the same
        key = f"{WRITERS}{FORMAT}/{__version__}/{day}.json"
        with suppress(AsyncCacheError):
            await store.put(key, json.dumps(document).encode(), if_absent=True)
        await in_thread(_write, memory, said)


def _today() -> date:
    return datetime.now(UTC).date()


def _is_day(text: str) -> bool:
    with suppress(ValueError):
        return date.fromisoformat(text).isoformat() == text
    return False


def _number(version: str) -> tuple[tuple[int, ...], bool] | tuple[()]:
    """Return the sort key of a version: its numbers, then whether it is a final release; empty for a version that is
    not ours.
    """
    said = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9}){0,3})(\+[\w.]+|(?:a|b|rc|\.dev)\d+)?", version)
    if said is None:
        return ()
    return tuple(map(int, said[1].split("."))), not said[2] or said[2].startswith("+")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _write(path: Path, text: str) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
