"""Keys of documents and aliases of environments in a store (contract, section 2.4).

Our own objects are under a top-level name that other readers ignore.
"""

from __future__ import annotations

from typing import Final

from asynccache.errors import UsageError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.identity import EnvID

ALIAS_LOG: Final = "asynccache/alias-log/"
"""Prefix of the histories of all names."""


@dataclass(frozen=True, slots=True)
class CatalogKeys:
    """Keys below one directory of environments.

    Attributes:
        dirname: The directory (setting `envs_dirname`).
    """

    dirname: str = "envs"

    def document(self, env_id: EnvID) -> str:
        """Return the key of an environment's document."""
        return f"{self.dirname}/{env_id.arch}/{env_id.req_id}/{env_id.full_id}/env"

    def digest(self, env_id: EnvID, sha256: str) -> str:
        """Return the key of what a digest of an environment stands for: beside its document."""
        return f"{self.document(env_id)}.sha256-{sha256}"

    def request_prefix(self, arch: str, req_id: str) -> str:
        """Return the prefix of all documents of a request."""
        return f"{self.dirname}/{arch}/{req_id}/"

    def parse_document(self, key: str) -> EnvID | None:
        """Read a document's key; None for any other object."""
        parts = key.split("/")
        if len(parts) != 5 or parts[0] != self.dirname or parts[4] != "env" or parts[1] == "aliases":
            return None
        try:
            return EnvID(parts[2], parts[3], parts[1])
        except UsageError:
            return None

    def alias(self, alias: Alias) -> str:
        """Return the key of an alias's object.

        Raises:
            UsageError: This kind of alias is not stored.
        """
        if alias.kind not in {"generic", "full-id"}:
            raise UsageError(f"{alias} is not a name that can be given", expected="NAME[:TAG]")
        if "//" in alias.stored or alias.stored.endswith("/"):
            raise UsageError(f"{alias} cannot be stored", expected="a name without empty parts and a tag")
        return f"{self.dirname}/aliases/{alias.kind}/{alias.stored}"

    @property
    def alias_prefix(self) -> str:
        """Prefix of all named aliases."""
        return f"{self.dirname}/aliases/generic/"

    def log_entry(self, alias: Alias, number: int) -> str:
        """Return the key of the n-th entry, from 1, in the history of a mutable alias."""
        return f"{self.log_prefix(alias)}{number:08d}.json"

    def log_prefix(self, alias: Alias) -> str:
        """Return the prefix of an alias's history, which those of longer aliases may share."""
        return f"{ALIAS_LOG}{alias.stored}/"

    def log_number(self, alias: Alias, key: str) -> int | None:
        """Return which entry of an alias's history a key is; None for that of another alias, such as
        `t/latest:latest`.
        """
        word = key.removeprefix(self.log_prefix(alias)).removesuffix(".json")
        return int(word) if word.isascii() and word.isdigit() else None
