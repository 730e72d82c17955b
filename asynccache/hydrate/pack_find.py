"""Where packs are in a store, and whether one is there."""

from __future__ import annotations

from typing import ClassVar

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.node import pack_format as packs
from asynccache.node.errors import PackUnusableError
from asynccache.store.base import Store


@dataclass(frozen=True, slots=True)
class Packed(Documented):
    """A pack in the store.

    Attributes:
        id: The environment.
        key: Key of the object.
        created: Whether this call created it.
        size: Size of the object, in bytes.
        digest: sha256 of its index, which identifies the whole; empty if it existed and was not read.
        raw_bytes: Size of all files; 0 if it existed.
        files: Number of files.
        bytecode: Python version of the byte code in it; None if it has none.
        notes: Notes for the user, one sentence each.
        seconds: Duration of the call.
        compared: How it was found to equal what the packages give, if this machine did not build it: `whole`, or
            `sources` if byte code could not be compared; empty if this machine built it or no comparison was requested.
        vouched: Whether this machine built or compared it, or the environment's digest names it.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "id", "key", "created", "size", "raw_bytes as unpacked_bytes", "digest", "files", "bytecode",
        "notes", "seconds",
    )  # fmt: skip

    id: EnvID
    key: str
    created: bool
    size: int
    digest: str
    raw_bytes: int
    files: int
    bytecode: str | None
    notes: tuple[str, ...]
    seconds: float
    compared: str = ""
    vouched: bool = False


def pack_key(env_id: EnvID, envs_dirname: str = "envs") -> str:
    """Return the key of a pack: beside the environment's document, under a name that other readers never look for."""
    return f"{envs_dirname}/{env_id.arch}/{env_id.req_id}/{env_id.full_id}/{packs.OBJECT_NAME}"


async def find_pack(store: Store, env_id: EnvID, envs_dirname: str) -> Packed | None:
    """Return the pack of an environment if the store has a complete one, which its last bytes show: two requests.

    Raises:
        StoreError: The store cannot be asked.
    """
    key = pack_key(env_id, envs_dirname)
    found = await store.head(key)
    if found is None or found.size <= packs.FOOTER_BYTES:
        return None
    data = await store.get(key, start=found.size - packs.FOOTER_BYTES, length=packs.FOOTER_BYTES)
    try:
        footer = packs.Footer.parse(data, found.size)
    except PackUnusableError:
        return None  # an older format, or truncated: built again
    return Packed(env_id, key, False, found.size, footer.digest, 0, 0, None, (), 0.0)
