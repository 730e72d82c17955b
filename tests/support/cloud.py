"""A cloud on 127.0.0.1 for Metaflow: an S3 server, a Batch and a Kubernetes that run jobs in containers here.

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
from tests.support.debian_image import debian_image
from tests.support.kubernetes_server import NAMESPACE, KubernetesServer
from tests.support.metaflow_venv import bare_venv
from tests.support.object_servers import ObjectServer, weed_server
from tests.support.sandbox import Image

BUCKET: Final = "flows"
SYSROOT: Final = f"s3://{BUCKET}/metaflow"
_SECONDS: Final = 2000
_DROPPED = ("METAFLOW", "AWS_", "ASYNCCACHE_", "CONDA_", "PYTHON", "VIRTUAL_ENV", "KUBECONFIG")


@dataclass(frozen=True, slots=True)
class Cloud:
    """Servers that run, and how to submit to them.

    Attributes:
        objects: The S3 server.
        batch: Runs what is submitted with @batch.
        kubernetes: Runs what is submitted with @kubernetes.
        image: What their containers start from.
        directory: Where a submitting user works: `.metaflow` is there.
        variables: The submitting user's environment; may be changed before something is submitted.
    """

    objects: ObjectServer
    batch: BatchServer
    kubernetes: KubernetesServer
    image: Image
    directory: Path
    variables: dict[str, str]

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
    node_python: str = "3.12",
    node_variables: Mapping[str, str] | None = None,
    volumes: tuple[Path, ...] = (),
    at_once: int = 2,
) -> Iterator[Cloud]:
    """Start the servers; all that they keep is below `directory` or in memory, and they end with the context.

    Args:
        directory: New or empty.
        chroot: Containers are Debian systems of their own; else virtual environments (see sandbox).
        node_python: Version of the virtual environment's interpreter.
        node_variables: More variables of the image.
        volumes: Directories that containers see.
        at_once: Containers side by side, for each of Batch and Kubernetes.

    Raises:
        LookupError: There is no Debian to be had here.
        CannotInstallError: The virtual environment cannot be made.
    """
    with weed_server() as objects:
        objects.create_bucket(BUCKET)
        image_variables = {**objects.environment, "METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1", **(node_variables or {})}
        if chroot:
            root = debian_image()
            if root is None:
                raise LookupError("a Debian for containers cannot be made here: it takes root, mounts and debootstrap")
        else:
            root = bare_venv(node_python)
        image = Image(root, whole=chroot, variables=image_variables, volumes=volumes)
        user = directory / "user"
        for name in ("work/.metaflow", "home", "settings"):
            (user / name).mkdir(parents=True)
        with (
            BatchServer(image, directory / "batch", at_once=at_once) as batch,
            KubernetesServer(image, directory / "kubernetes", at_once=at_once) as kubernetes,
        ):
            variables = {
                **{key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)},
                **objects.environment,
                "HOME": str(user / "home"),
                "AWS_ENDPOINT_URL_BATCH": batch.url,
                "KUBECONFIG": str(kubernetes.configuration),
                "METAFLOW_BATCH_JOB_QUEUE": batch_server.QUEUE,
                "METAFLOW_DATASTORE_SYSROOT_S3": SYSROOT,
                "METAFLOW_DEFAULT_DATASTORE": "s3",
                "METAFLOW_DEFAULT_METADATA": "local",
                "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": "arn:aws:iam::123456789012:role/tasks",
                "METAFLOW_HOME": str(user / "settings"),
                "METAFLOW_KUBERNETES_NAMESPACE": NAMESPACE,
                "METAFLOW_S3_ENDPOINT_URL": objects.url,
                "METAFLOW_USER": "tester",
            }
            yield Cloud(objects, batch, kubernetes, image, user / "work", variables)
