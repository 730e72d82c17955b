"""A cloud on 127.0.0.1 for Metaflow: a datastore, a Batch and a Kubernetes that run jobs in containers here.

with running_cloud(directory, chroot=False) as cloud:
    done = cloud.flow(python, flow, "--environment=conda", "run", "--with", "batch")
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import batch_server
from tests.support.batch_server import BatchServer
from tests.support.datastores import Datastore, running_datastore
from tests.support.debian_image import debian_image
from tests.support.kubernetes_server import NAMESPACE, KubernetesServer
from tests.support.metaflow_venv import bare_venv, node_wheels
from tests.support.object_servers import ObjectServer
from tests.support.sandbox import Image

_SECONDS: Final = 2000
_DROPPED = (
    "METAFLOW", "AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "ASYNCCACHE_", "CONDA_", "PYTHON", "VIRTUAL_ENV", "KUBECONFIG"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cloud:
    """Servers that run, and how to submit to them.

    Attributes:
        datastore: Where flows are kept.
        batch: Runs what is submitted with @batch.
        kubernetes: Runs what is submitted with @kubernetes.
        image: What their containers start from.
        directory: Where a submitting user works: `.metaflow` is there.
        variables: The submitting user's environment; may be changed before something is submitted.
    """

    datastore: Datastore
    batch: BatchServer
    kubernetes: KubernetesServer
    image: Image
    directory: Path
    variables: dict[str, str]

    @property
    def objects(self) -> ObjectServer:
        """The S3 server."""
        assert isinstance(self.datastore.server, ObjectServer), "the datastore is another"
        return self.datastore.server

    def flow(
        self, python: Path, flow: Path, *words: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a flow's command line as the submitting user.

        Args:
            python: The interpreter of an environment with Metaflow.
            flow: The flow's file; copied into the user's directory.
            words: What follows the file on the command line.
            variables: More environment variables.

        Returns:
            Its exit code and what it printed, both streams as one.
        """
        copy = self.directory / flow.name
        if copy != flow:
            shutil.copyfile(flow, copy)
        return self._run([str(python), flow.name, *words], variables)

    def look(self, python: Path, expression: str) -> Any:
        """Return the value of an expression over Metaflow's client (`Flow`, `Task`, ...), as JSON carries it."""
        code = f"import json, sys\nfrom metaflow import *\nsys.stdout.write('\\n' + json.dumps({expression}))"
        done = self._run([str(python), "-c", code], None)
        if done.returncode:
            raise RuntimeError(f"Metaflow's client failed:\n{done.stdout}")
        return json.loads(done.stdout.splitlines()[-1])

    def program(self, python: Path, *words: str) -> str:
        """Run a program of the user's directory to a good end, and return what it printed."""
        done = self._run([str(python), *words], None)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed:\n{done.stdout}")
        return done.stdout

    def _run(self, words: Sequence[str], variables: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.directory,
            env={**self.variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


@contextmanager
def running_cloud(
    directory: Path,
    *,
    chroot: bool,
    datastore: str = "s3",
    node_python: str = "3.12",
    node_variables: Mapping[str, str] | None = None,
    volumes: tuple[Path, ...] = (),
    at_once: int = 2,
    installed: Path | None = None,
) -> Iterator[Cloud]:
    """Start the servers; all that they keep is below `directory` or in memory, and they end with the context.

    Args:
        directory: New or empty.
        chroot: Containers are Debian systems of their own; else virtual environments (see sandbox).
        datastore: Its type; Batch takes `s3` alone.
        node_python: Version of the virtual environment's interpreter.
        node_variables: More variables of the image.
        volumes: Directories that containers see.
        at_once: Containers side by side, for each of Batch and Kubernetes.
        installed: A virtual environment that is the image; None for one with what Metaflow installs, and no more.

    Raises:
        LookupError: There is no Debian to be had here.
        CannotInstallError: The virtual environment cannot be made.
    """
    with running_datastore(datastore, directory / "datastore") as kept:
        image = _image(kept, node_python if not chroot else None, node_variables or {}, volumes, installed)
        user = directory / "user"
        for name in ("work/.metaflow", "home", "settings"):
            (user / name).mkdir(parents=True)
        with (
            BatchServer(image, directory / "batch", at_once=at_once) as batch,
            KubernetesServer(image, directory / "kubernetes", at_once=at_once) as kubernetes,
        ):
            variables = {
                **{key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)},
                **kept.login,
                **kept.settings,
                "HOME": str(user / "home"),
                "AWS_ENDPOINT_URL_BATCH": batch.url,
                "KUBECONFIG": str(kubernetes.configuration),
                "METAFLOW_BATCH_JOB_QUEUE": batch_server.QUEUE,
                "METAFLOW_DEFAULT_DATASTORE": datastore,
                "METAFLOW_DEFAULT_METADATA": "local",
                "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": "arn:aws:iam::123456789012:role/tasks",
                "METAFLOW_HOME": str(user / "settings"),
                "METAFLOW_KUBERNETES_NAMESPACE": NAMESPACE,
                "METAFLOW_USER": "tester",
            }
            yield Cloud(kept, batch, kubernetes, image, user / "work", variables)


def _image(
    kept: Datastore,
    python: str | None,
    variables: Mapping[str, str],
    volumes: tuple[Path, ...],
    environment: Path | None,
) -> Image:
    """Return a Debian where `python` is None, else a virtual environment, with what Metaflow installs.

    The Debian has the packages for S3; what others need, its containers install themselves, as Metaflow has them do,
    from wheels that are beside them.
    """
    installed = {"METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1"}
    seen = (*volumes, kept.files) if kept.files else volumes
    if python is not None:
        return Image(environment or bare_venv(python, kept.kind), False, {**kept.login, **installed, **variables}, seen)
    root = debian_image(with_pip=kept.kind != "s3")
    if root is None:
        raise LookupError("a Debian for containers cannot be made here: it takes root, mounts and debootstrap")
    if kept.kind != "s3":
        wheels = node_wheels(kept.kind, "3.11")
        installed = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
        seen = (*seen, wheels)
    return Image(root, True, {**kept.login, **installed, **variables}, seen)
