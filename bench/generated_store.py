"""A store whose keys are made when they are asked for: as large as wanted, and nothing of it is held."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from asynccache.store.base import PAGE, ObjectInfo
from asynccache.store.memory import MemoryStore

_CHANNEL: Final = "conda.example/channel/linux-64"
_ARCHIVES: Final = f"packages/conda/{_CHANNEL}/"
_DOCUMENTS: Final = f"envs/linux-64/{'0' * 40}/"
_SIZE: Final = 4096
_MODIFIED: Final = 1_700_000_000.0
_TOGETHER: Final = 200  # packages of an environment


class GeneratedStore(MemoryStore):
    """Published `.tar.bz2` archives, and environments that name all of them; whatever is written is held beside.

    Args:
        archives: How many.
    """

    def __init__(self, archives: int) -> None:
        super().__init__("memory:generated")
        self._archives = archives
        self._documents = -(-archives // _TOGETHER)

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        for below, count, key_of in (
            (_ARCHIVES, self._archives, _archive_key),
            (_DOCUMENTS, self._documents, _document_key),
        ):
            if prefix and below.startswith(prefix):
                self._requests += 1
                await asyncio.sleep(0)
                return _page(below, count, key_of, start_after, min(limit, PAGE))
        return await super().list_page(prefix, start_after=start_after, limit=limit)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        if not key.startswith(_DOCUMENTS):
            return await super().get(key, start=start, length=length)
        await self._request(key)
        begin = int(key.removeprefix(_DOCUMENTS)[:40], 16) * _TOGETHER
        packages = [_package(number) for number in range(begin, min(begin + _TOGETHER, self._archives))]
        return json.dumps({**_ENVIRONMENT, "packages": packages}).encode("ascii")


_ENVIRONMENT: Final = {
    "deps": ["conda::a"],
    "sources": ["conda::channel"],
    "extras": [],
    "resolved_on": "2026-01-01T00:00:00",
    "resolved_by": "ann",
    "resolved_archs": ["linux-64"],
    "env_type": "conda-only",
    "accurate_source": True,
    "full_id_unique_keys": {},
}


def _page(below: str, count: int, key_of: Callable[[int], str], start_after: str, limit: int) -> list[ObjectInfo]:
    """Return a page of the keys below a directory, each of which begins with its number in eight or forty digits."""
    begin = 0
    if start_after > below:
        digits = start_after.removeprefix(below).partition("/")[0]
        begin = int(digits, 16) + 1 if len(digits) == 40 else int(digits.split("-")[1]) + 1
    return [
        ObjectInfo(key_of(number), _SIZE, etag=f"{number}", modified=_MODIFIED)
        for number in range(begin, min(count, begin + limit))
    ]


def _archive_key(number: int) -> str:
    file = f"{_name(number)}.tar.bz2"
    return f"{_ARCHIVES}{file}/{file}/{number:032x}/{file}"


def _document_key(number: int) -> str:
    return f"{_DOCUMENTS}{number:040x}/env"


def _name(number: int) -> str:
    return f"package-{number:08d}-1.0-0"


def _package(number: int) -> dict[str, Any]:
    file = f"{_name(number)}.tar.bz2"
    return {
        "_type": "conda",
        "filename": _name(number),
        "url": f"https://{_CHANNEL}/{file}",
        "url_format": ".tar.bz2",
        "hashes": {".tar.bz2": f"{number:032x}"},
        "cache_info": {".tar.bz2": {"_type": "conda", "url": _archive_key(number)}},
    }
