"""Digests of environments in a store: beside the document, each under its own name, so an old one remains valid.

An environment gets another digest when it gets a pack, or new archives of packages. Nothing is changed: what a digest
stands for is written if it is absent, and accepted only if it matches its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

from asynccache.catalog.documents import read_twice
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import IntegrityError, PreconditionFailedError
from asynccache.model.environment_digest import DigestList, EnvironmentDigest
from asynccache.model.identity import EnvID
from asynccache.store.base import ObjectInfo, Store


class EnvironmentDigests:
    """Reads and writes what digests stand for.

    Args:
        store: An open store.
        keys: Keys of environments.
    """

    def __init__(self, store: Store, keys: CatalogKeys | None = None) -> None:
        self._store = store
        self._keys = keys or CatalogKeys()

    async def put(self, digests: Sequence[EnvironmentDigest], archs: Sequence[str] = ()) -> str:
        """Write what digests of one environment, and the common one of all architectures, stand for, if missing.

        Args:
            digests: Digests of one environment, each for another architecture; at least one.
            archs: Architectures that were resolved together; those without a given digest have the existing one.

        Returns:
            The digest for the environment's name: that of its only architecture, otherwise the common one; that of a
            single one if not all are known.

        Raises:
            StoreError: The store cannot be written.
        """
        for digest in digests:
            await self._put(digest.id, digest.sha256, digest.text)
        by_arch = {digest.id.arch: digest.sha256 for digest in digests}
        env_id = digests[0].id
        for arch in archs:
            if arch not in by_arch:
                there = await self.current(EnvID(env_id.req_id, env_id.full_id, arch))
                if there is None:
                    return digests[0].sha256
                by_arch[arch] = there.sha256
        if len(by_arch) == 1:
            return digests[0].sha256
        together = DigestList(by_arch)
        for arch in by_arch:
            await self._put(EnvID(env_id.req_id, env_id.full_id, arch), together.sha256, together.text)
        return together.sha256

    async def get(self, env_id: EnvID, sha256: str) -> EnvironmentDigest | None:
        """Return what a digest, or the common one of several architectures, stands for; None if it does not exist.

        Raises:
            IntegrityError: The object is something else.
            StoreError: The store cannot be read.
        """
        data = await self._read(env_id, sha256)
        together = DigestList.parse(data) if data is not None else None
        if together is not None:
            own = together.by_arch.get(env_id.arch)
            data = await self._read(env_id, own) if own is not None else None
        return None if data is None else EnvironmentDigest.parse(data)

    async def has(self, env_id: EnvID, sha256: str) -> bool:
        """Return whether an environment has, or had, a digest.

        Raises:
            StoreError: The store cannot be read.
        """
        return await self._store.head(self._keys.digest(env_id, sha256)) is not None

    async def current(self, env_id: EnvID) -> EnvironmentDigest | None:
        """Return what the most complete digest stands for, the latest of several; None if none can be read.

        Raises:
            StoreError: The store cannot be read.
        """
        return (await self._latest(env_id))[0]

    async def names(self, env_id: EnvID) -> tuple[str, str]:
        """Return the digest of an environment and the common one of its architectures, as they were written last.

        Raises:
            StoreError: The store cannot be read.
        """
        own, common = await self._latest(env_id)
        return own.sha256 if own is not None else "", common

    async def _latest(self, env_id: EnvID) -> tuple[EnvironmentDigest | None, str]:
        prefix = self._keys.digest(env_id, "")
        there = [info async for info in self._store.scan(prefix) if "/" not in info.key.removeprefix(prefix)]
        own: list[EnvironmentDigest] = []
        common: list[DigestList] = []
        for info in sorted(there, key=_newest_first):
            with suppress(IntegrityError):
                data = await self._read(env_id, info.key.removeprefix(prefix))
                if data is None:
                    continue
                together = DigestList.parse(data)
                if together is None:
                    own.append(EnvironmentDigest.parse(data))
                else:
                    common.append(together)
        # the newest of the most complete: times may be whole seconds, and no machine may know all archives
        chosen = max(own, key=_says, default=None)
        digest = "" if chosen is None else chosen.sha256
        return chosen, next((each.sha256 for each in common if each.by_arch.get(env_id.arch) == digest), "")

    async def _read(self, env_id: EnvID, sha256: str) -> bytes | None:
        key = self._keys.digest(env_id, sha256)

        def checked(data: bytes) -> bytes:
            found = hashlib.sha256(data).hexdigest()
            if found != sha256:
                raise IntegrityError(f"{key} is not what its name says", expected=sha256, found=found)
            return data

        return await read_twice(self._store, key, checked)

    async def _put(self, env_id: EnvID, sha256: str, text: bytes) -> None:
        with suppress(PreconditionFailedError):
            await self._store.put(self._keys.digest(env_id, sha256), text, if_absent=True)


def _says(digest: EnvironmentDigest) -> tuple[bool, int]:
    return bool(digest.pack), sum(len(package.forms) for package in digest.packages)


def _newest_first(info: ObjectInfo) -> tuple[float, str]:
    return -(info.modified or 0.0), info.key
