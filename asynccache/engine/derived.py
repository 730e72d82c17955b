"""Which derived archives of packages may be used: one decision for all readers of archives.

A *derived archive* of a conda package is one that was made from the published one: a `.conda` if the source URL names a
`.tar.bz2`, or the reverse. Keys contain its md5, and so may documents; but an attacker who can write to a store can
forge both, and a receipt too. So a derived archive is used only if one of these vouches for its sha256:

- this user on this machine made it from the published archive, or compared the two member by member;
- the setting `derived_digests` lists it, which a submitter's manifest sets on nodes;
- the digest in the environment's name: `EnvironmentPackage.vouched_derived`.

The result of a comparison is a statement about bytes, independent of the store: the md5 or sha256 of the published
archive, md5 and sha256 of the derived one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asynccache.engine.verified import Verified
from asynccache.errors import ConfigurationError, IntegrityError, UsageError
from asynccache.model.digest import HEX_LENGTH, Digests, checked_hex
from asynccache.model.package import Kind
from asynccache.runtime.threads import Threads
from asynccache.store.stored import StoredArchive

_PLACE: Final = "derived archives"
_RECEIPTS: Final = "receipts in "
_AT_ONCE: Final = 200  # statements that are written together, which a killed run has to compare again


def is_derived(kind: Kind, fmt: str, url_format: str) -> bool:
    """Return whether a format of a package is a derived one."""
    return kind == "conda" and fmt != url_format


def published_digests(named: Digests, published: StoredArchive | None) -> Digests:
    """Return the known digests of a published archive: those given, otherwise the one in its key."""
    return named if named or published is None else published.digests


class DerivedArchives:
    """What may be used on this machine; call `load` before using it.

    Args:
        cache_dir: The setting `cache_dir`.
        named: `PUBLISHED=DERIVED` texts: md5 or sha256 of a published archive, sha256 of a derived one.
        threads: Threads that read and write files.

    Raises:
        ConfigurationError: One of the texts is invalid.
    """

    def __init__(self, cache_dir: Path, named: Iterable[str], threads: Threads) -> None:
        self._cache_dir = cache_dir
        self._threads = threads
        self._named: dict[str, frozenset[str]] = {}
        for text in named:
            published, derived = parse_statement(text)
            self._named[published] = self._named.get(published, frozenset()) | {derived}
        self._known: dict[str, str] | None = None
        self._receipts: dict[str, dict[str, str]] = {}
        self._unsaved: list[tuple[str, str]] = []
        self._memory: Verified | None = None

    async def load(self) -> None:
        """Read what this machine remembers; only the first time."""
        if self._known is None:
            known = await self._threads.run(self._read)
            if self._known is None:
                self._known = {**known, **dict(self._unsaved)}

    def allowed(self, published: Digests, derived_md5: str, vouched: frozenset[str] = frozenset()) -> frozenset[str]:
        """Return the sha256 values allowed for a derived archive; empty if none is vouched for.

        Args:
            published: What is known of the published archive (see `published_digests`).
            derived_md5: md5 of the derived archive, from its key.
            vouched: What whoever named the environment vouches for.
        """
        anchor = published.sha256 or published.md5
        if anchor is None:
            return vouched
        compared = (self._known or {}).get(f"{anchor} {derived_md5}")
        return vouched | self._named.get(anchor, frozenset()) | ({compared} if compared is not None else frozenset())

    def statements(self, published: Digests, derived_md5: str, vouched: frozenset[str] = frozenset()) -> Iterable[str]:
        """Return the result of `allowed` as texts of the setting `derived_digests`, for other machines."""
        anchor = published.sha256 or published.md5
        allowed = self.allowed(published, derived_md5, vouched) if anchor is not None else ()
        return [f"{anchor}={sha256}" for sha256 in sorted(allowed)]

    async def add(self, published: Digests, derived: Digests) -> None:
        """Remember an archive that this machine made from the published one, or compared with it; all digests are
        known.
        """
        entries = [
            (f"{anchor} {derived.md5}", derived.sha256 or "") for anchor in (published.md5, published.sha256) if anchor
        ]
        self._unsaved += entries
        if self._known is not None:
            self._known.update(entries)
        if len(self._unsaved) >= _AT_ONCE:
            await self.save()

    async def save(self) -> None:
        """Save what was added."""
        await self._threads.certainly(self._write)

    async def has_receipt(self, store: str, archive: StoredArchive) -> bool:
        """Return whether a receipt of an archive was found before: this only saves a request.

        Args:
            store: Identity of the store.
            archive: The archive.
        """
        if store not in self._receipts:
            self._receipts[store] = await self._threads.run(self._shared().known, _RECEIPTS + store)
        return self._receipts[store].get(archive.key) == archive.version

    async def note_receipt(self, store: str, archive: StoredArchive) -> None:
        """Remember that an archive has a receipt."""
        self._receipts.setdefault(store, {})[archive.key] = archive.version
        await self._threads.run(self._shared().add, _RECEIPTS + store, [(archive.key, archive.version)])

    def _shared(self) -> Verified:
        return Verified.shared(self._cache_dir)

    def _own(self) -> Verified:
        self._memory = self._memory or Verified.own(self._cache_dir)
        return self._memory

    def _read(self) -> dict[str, str]:
        return self._own().known(_PLACE)

    def _write(self) -> None:
        entries, self._unsaved = self._unsaved, []
        if entries:
            self._own().add(_PLACE, entries)


def parse_statement(text: str) -> tuple[str, str]:
    """Read `PUBLISHED=DERIVED`.

    Raises:
        ConfigurationError: It is invalid.
    """
    published, _, derived = (part.strip() for part in text.partition("="))
    try:
        algorithm = next((a for a, length in HEX_LENGTH.items() if len(published) == length), "sha256")
        return checked_hex(algorithm, published), checked_hex("sha256", derived)
    except UsageError:
        raise ConfigurationError(
            "the setting derived_digests is wrong",
            expected="PUBLISHED=DERIVED: md5 or sha256 of the published archive, sha256 of the derived one",
            found=repr(text[:200]),
        ) from None


def unvouched(archive: StoredArchive, address: str, why: object) -> IntegrityError:
    """Return the failure if only a derived archive of a package is available, which is not vouched for.

    Args:
        archive: The derived archive.
        address: Address of the store.
        why: Why the published archive cannot be obtained.
    """
    return IntegrityError(
        f"nobody vouches for {archive.key} in {address}, and the archive that it was made of cannot be obtained: {why}",
        hint="run where that was made or compared, name the environment with its digest, or put the published archive"
        " where it can be fetched",
    )
