"""What Metaflow keeps runs in, on 127.0.0.1: S3, Azure Blob Storage or Google Cloud Storage, and who may ask it.

with running_datastore("azure", directory) as datastore:
    ...  # with datastore.settings and datastore.login in the environment
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.azurite import AzureServer, azurite_server
from tests.support.background import in_background
from tests.support.certificates import make_certificate
from tests.support.google_storage import ConditionProxy, GoogleServer, google_server
from tests.support.object_servers import ObjectServer, weed_server
from tests.support.token_service import TokenService

BUCKET: Final = "flows"
SYSROOTS: Final = {"s3": f"s3://{BUCKET}/metaflow", "azure": f"{BUCKET}/metaflow", "gs": f"gs://{BUCKET}/metaflow"}
"""Type of a datastore -> where flows are kept, as Metaflow writes it."""


@dataclass(frozen=True, slots=True)
class Datastore:
    """A datastore.

    Attributes:
        kind: Its type, as Metaflow calls it.
        server: What answers.
        settings: Metaflow's, of the user who submits flows.
        login: Variables that let a process in, there and on nodes.
        files: Directory of what `login` names, if anything; nodes must see it.
    """

    kind: str
    server: ObjectServer | AzureServer | GoogleServer
    settings: Mapping[str, str]
    login: Mapping[str, str] = field(repr=False)
    files: Path | None = None


@contextmanager
def running_datastore(kind: str, directory: Path) -> Iterator[Datastore]:
    """Run one until the context ends.

    Those of Azure and Google are asked by https, as the services themselves are: Metaflow's clients and ours find who
    this machine is and send tokens. Google's answers without one, too, since its own client sends an emulator none.

    Args:
        kind: `s3`, `azure` or `gs`.
        directory: For what processes need to be let in.

    Raises:
        CannotInstallError: The server cannot be obtained.
    """
    root = {f"METAFLOW_DATASTORE_SYSROOT_{kind.upper()}": SYSROOTS[kind]}
    with ExitStack() as stack:
        if kind == "s3":
            weed = stack.enter_context(weed_server())
            weed.create_bucket(BUCKET)
            yield Datastore(kind, weed, {**root, "METAFLOW_S3_ENDPOINT_URL": weed.url}, weed.environment)
            return
        directory.mkdir(parents=True, exist_ok=True)
        shown = make_certificate(directory)
        tokens = stack.enter_context(in_background(TokenService(shown, directory)))
        if kind == "azure":
            azurite = stack.enter_context(azurite_server(shown))
            azurite.create_bucket(BUCKET)
            settings = {**root, "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": azurite.url}
            yield Datastore(kind, azurite, settings, tokens.of_azure("app service"), directory)
            return
        google = stack.enter_context(google_server())
        google.create_bucket(BUCKET)
        proxy = stack.enter_context(in_background(ConditionProxy(google.url, shown)))
        login = {"STORAGE_EMULATOR_HOST": proxy.url, **tokens.of_google("service account")}
        yield Datastore(kind, google, root, login, directory)
