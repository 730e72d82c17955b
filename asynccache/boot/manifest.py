"""The manifest for nodes: where the cache is, and which environment of which size and digest a step needs.

    {"version": 1, "root": "s3://bucket/prefix", "endpoint_url": null, "envs_dirname": "envs",
     "s3": {"provider": "boto3", "tries": 5}, "environments_dir": null, "sync": false, "lock_timeout": 3600,
     "steps": {"train": ["REQ_ID", "FULL_ID"]},
     "packs": {"REQ_ID:FULL_ID:ARCH": {"key": "envs/...", "size": 123, "digest": "..."}},
     "bundles": {"linux-64": {"key": "...", "size": 123, "sha256": "..."}},
     "decoders": {"cp310-linux-64": {"key": "...", "size": 123, "sha256": "..."}},
     "derived": {"REQ_ID:FULL_ID:ARCH": ["MD5=SHA256"]},
     "digests": {"REQ_ID:FULL_ID:ARCH": "..."}}

All but `version` and `root` may be missing. The key with the name of the root's kind, such as `s3`, holds the values of
settings of its clients (`DEFAULT_AWS_CLIENT_PROVIDER`, `S3_CLIENT_RETRY_CONFIG`) where the flow is launched; variables
on the node take precedence. `derived` lists the derived archives of packages that the engine may use (the setting
`derived_digests`), `digests` the environments that must match their digest. A manifest with any other digest has
*pins*: of packs, bundles and decoders a node then uses those that are pinned and no others, so that an attacker who can
write to the store cannot make a node run what the submitter did not vouch for. Without any pins (flows deployed
earlier) they are looked up at their usual keys and used as they are.
"""

from __future__ import annotations

import platform
from typing import Any, Callable

from asynccache.errors import HydrationError
from asynccache.node.errors import PackUnusableError
from asynccache.node.json_text import read_json
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.node.store_kinds import kind_of


class Manifest:
    """A manifest.

    Args:
        document: The parsed document.
        name: Its name in messages.

    Raises:
        HydrationError: It is not one that this version reads.
    """

    def __init__(self, document: Any, name: str) -> None:
        if not isinstance(document, dict) or document.get("version") != 1 or not document.get("root"):
            raise HydrationError(f"{name} is no manifest that this version reads: expected `version` 1 and `root`")
        self.root = str(document["root"])
        self.endpoint_url = document.get("endpoint_url")
        kind = kind_of(self.root)
        self.client = (document.get(kind.name) if kind is not None else None) or {}
        self.environments_dir = document.get("environments_dir")
        self.sync = bool(document.get("sync", False))
        self.lock_timeout = float(document.get("lock_timeout", 3600.0))
        self._envs = str(document.get("envs_dirname", "envs"))
        self._steps = document.get("steps") or {}
        self._packs = document.get("packs") or {}
        self._bundles = document.get("bundles") or {}
        self._decoders = document.get("decoders") or {}
        self._derived = document.get("derived") or {}
        self._digests = document.get("digests") or {}
        self.pins = bool(self._bundles or self._decoders or any(said.get("digest") for said in self._packs.values()))
        self._name = name

    @classmethod
    def read(cls, path: str) -> Manifest:
        """Read a manifest from a file.

        Raises:
            HydrationError: It does not exist, or is damaged.
        """
        try:
            with open(path, "rb") as file:
                return cls(read_json(file.read().decode("utf-8")), path)
        except OSError as exc:
            raise HydrationError(f"the manifest {path} cannot be read ({exc.strerror})") from exc
        except ValueError as exc:
            raise HydrationError(f"the manifest {path} is no JSON ({exc})") from exc

    def ids(self, text: str) -> tuple[str, str]:
        """Return (req_id, full_id) of a step, or of a text `REQ_ID:FULL_ID`, also followed by `@sha256:DIGEST`.

        Raises:
            HydrationError: It is neither.
        """
        found = self._steps.get(text)
        if found is None:
            name, _mark, digest = text.partition("@sha256:")
            found = name.split(":")
            if digest:
                self._digests = {name: digest}
        if len(found) != 2:
            raise HydrationError(f"{self._name} has no environment for {text!r}; its steps: {sorted(self._steps)}")
        return str(found[0]), str(found[1])

    def pack(self, req_id: str, full_id: str, arch: str, named: Callable[[], str] = str) -> tuple[str, str | None, str]:
        """Return (key, digest or None, how it was compared) of an environment's pack.

        It was compared `whole`, `sources` (with its packages, without byte code), or not at all, which is empty: then
        the submitter built it.

        Args:
            req_id: Id of the environment.
            full_id: Its full_id.
            arch: Its architecture.
            named: Returns the digest of the pack that the environment's own digest stands for, empty if it has none;
                called if the manifest has no pack.

        Raises:
            PackUnusableError: There are pins, but none for this environment's pack.
        """
        said = self._packs.get(f"{req_id}:{full_id}:{arch}") or {}
        digest, compared = said.get("digest"), str(said.get("compared") or "")
        if not digest and self.digest(req_id, full_id, arch):
            digest, compared = named(), "whole"
        if not digest and (self.pins or compared):
            raise PackUnusableError(f"{self._name} names no pack of {req_id}:{full_id}, so none is used")
        key = said.get("key") or f"{self._envs}/{arch}/{req_id}/{full_id}/{OBJECT_NAME}"
        return str(key), digest, compared

    def digest(self, req_id: str, full_id: str, arch: str) -> str:
        """Return the digest of an environment, empty if none is named."""
        named = self._digests.get(f"{req_id}:{full_id}:{arch}") or self._digests.get(f"{req_id}:{full_id}")
        return str(named or "")

    def digest_key(self, req_id: str, full_id: str, arch: str, digest: str) -> str:
        """Return the location of what a digest stands for."""
        return f"{self._envs}/{arch}/{req_id}/{full_id}/env.sha256-{digest}"

    def bundle(self, arch: str) -> dict[str, Any] | None:
        """Return `key`, `size` and `sha256` of the engine's bundle for an architecture, None if none is named."""
        return _pinned(self._bundles.get(arch))

    def derived(self, req_id: str, full_id: str, arch: str) -> list[str]:
        """Return which derived archives of an environment's packages may be used, in the format of the engine's
        setting.
        """
        return [str(text) for text in self._derived.get(f"{req_id}:{full_id}:{arch}") or ()]

    def decoder(self, tag: str) -> dict[str, Any] | None:
        """Return `key`, `size` and `sha256` of the wheel of a zstd decoder, None if none is named."""
        return _pinned(self._decoders.get(tag))


def _pinned(said: Any) -> dict[str, Any] | None:
    return said if isinstance(said, dict) and said.get("sha256") else None


def this_architecture() -> str:
    """Return the conda name of this machine's architecture."""
    system, machine = platform.system(), platform.machine()
    if system == "Darwin":
        return "osx-arm64" if machine == "arm64" else "osx-64"
    if system != "Linux":
        raise HydrationError(f"environments are made on Linux and macOS; this is {system}")
    if machine in ("aarch64", "arm64"):
        return "linux-aarch64"
    return "linux-64" if machine.endswith("64") else "linux-32"
