"""Servers of objects on 127.0.0.1, one for each kind of remote store, all described alike.

with serving("azure") as service:
    settings = {"store": service.root("team"), **service.setting()}        # with service.environment

python -m tests.support.services gs 600      # prints one as JSON, and serves for so many seconds or until it is ended
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

Kind = Literal["s3", "azure", "gs"]
_SCHEMES: Final[dict[Kind, str]] = {"s3": "s3", "azure": "az", "gs": "gs"}
_SETTINGS: Final[dict[Kind, str]] = {"s3": "s3_endpoint_url", "azure": "azure_endpoint", "gs": "google_endpoint"}
_SERVERS: Final[dict[Kind, str]] = {
    "s3": "object_servers.weed_server",
    "azure": "azurite.azurite_server",
    "gs": "google_storage.google_server",
}
KINDS: Final = tuple(_SCHEMES)


@dataclass(frozen=True, slots=True)
class Service:
    """A container on a server.

    Attributes:
        kind: Of stores.
        server: Its address, before which a proxy may stand.
        below: What the service's address has behind that of the server.
        container: One that is there.
        environment: Variables that let a client in.
        pid: The server's process.
    """

    kind: Kind
    server: str
    below: str
    container: str
    environment: Mapping[str, str] = field(repr=False)
    pid: int

    def root(self, name: str) -> str:
        """Return the address of a store."""
        return f"{_SCHEMES[self.kind]}://{self.container}/{name}"

    def endpoint(self, server: str = "") -> str:
        """Return the address of the service, or where it is reached through another server."""
        return (server or self.server) + self.below

    def setting(self, server: str = "") -> dict[str, str]:
        """Return the setting that says so."""
        return {_SETTINGS[self.kind]: self.endpoint(server)}


@contextmanager
def serving(kind: Kind, container: str) -> Iterator[Service]:
    """Run the server of a kind, with a container."""
    module, _, function = _SERVERS[kind].partition(".")
    server = getattr(importlib.import_module(f"tests.support.{module}"), function)  # some are large
    with server() as running:
        running.create_bucket(container)
        yield running.service(container)


def main() -> None:
    """Serve until the time is over."""
    kind, container, seconds = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with serving(kind, container) as service:  # type: ignore[arg-type]
        print(json.dumps(asdict(service)), flush=True)  # noqa: T201 - read by the process that started it
        time.sleep(float(seconds))


if __name__ == "__main__":
    main()
