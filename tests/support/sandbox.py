"""Run a container's command on this machine as the container would.

Two kinds of image, by what the machine allows:

- a directory with a whole system (see debian_image): the command sees an overlay of it as its root, in name spaces of
  its own for mounts and processes. The network is shared, so that servers on 127.0.0.1 are reached;
- a bare virtual environment: the command sees the variables it was given and no others, its own HOME, TMPDIR and
  working directory, and the environment's interpreter first on PATH.

Each run leaves `command.json` (what was asked) and `output.log` (what it printed) in its directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.object_servers import end_with_parent

_STOP_SECONDS = 10.0
# $1 image, $2 writable directory, $3 volumes separated by newlines, then the command
_CHANGE_ROOT = r"""
set -e
image=$1 own=$2 volumes=$3; shift 3
mkdir -p "$own/upper" "$own/overlay" "$own/root"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$own/upper,workdir=$own/overlay" "$own/root"
mount -t proc proc "$own/root/proc"
mount --rbind /dev "$own/root/dev"
printf '%s' "$volumes" | while IFS= read -r volume; do
    mkdir -p "$own/root$volume"
    mount --bind "$volume" "$own/root$volume"
done
mkdir -p "$own/root/work"
exec chroot "$own/root" /bin/sh -c 'cd /work && exec "$@"' sh "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container starts from.

    Attributes:
        root: A system's root directory, or a virtual environment.
        whole: True for a system's root.
        variables: The image's own environment variables; a container's go before them.
        volumes: Directories of this machine that every container sees under the same path.
    """

    root: Path
    whole: bool
    variables: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Path, ...] = ()


@dataclass(slots=True)
class Container:
    """One run of a command.

    Attributes:
        name: Unique among the containers of a test.
        command: The words that were asked for.
        environment: The variables that were asked for.
        directory: The run's own directory on this machine.
        empty: Absolute paths of empty directories that the container gets, as from a volume; only in a whole system.
        process: The process, once started.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    empty: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    _files: Path | None = None

    @property
    def output(self) -> str:
        """What it has printed so far, both streams."""
        path = self.directory / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it has not."""
        return self.process.poll() if self.process is not None else None

    def file(self, path: str) -> Path:
        """Return where a file of the container is on this machine; `path` is absolute, or below its first directory."""
        assert self._files is not None, "not started"
        if path.startswith("/"):
            return self._files / path.lstrip("/")
        return self._files / "work" / path

    def start(self, image: Image) -> subprocess.Popen[bytes]:
        """Start the command; must be called from the thread that waits for its end."""
        self.directory.mkdir(parents=True)
        environment = {**image.variables, **self.environment, "LANG": "C.UTF-8"}
        if image.whole:
            environment |= {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
            self._files = self.directory / "upper"
            for each in self.empty:
                self.file(each).mkdir(parents=True)
            words = [
                "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "/bin/sh", "-c",
                _CHANGE_ROOT, "sh", str(image.root), str(self.directory), "".join(f"{v}\n" for v in image.volumes),
                *self.command,
            ]  # fmt: skip
            cwd = Path("/")
        else:
            self._files = self.directory
            for name in ("home", "tmp", "work"):
                (self.directory / name).mkdir()
            environment |= {
                "HOME": str(self.directory / "home"),
                "TMPDIR": str(self.directory / "tmp"),
                "PATH": f"{image.root / 'bin'}:/usr/bin:/bin",
            }
            words, cwd = list(self.command), self.directory / "work"
        asked = {"command": self.command, "environment": environment}
        (self.directory / "command.json").write_text(json.dumps(asked, indent=1))
        with (self.directory / "output.log").open("wb") as log:
            self.process = subprocess.Popen(
                words,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one system call, resolved beforehand
            )
        return self.process

    def stop(self) -> None:
        """End everything the command started."""
        if self.process is None or self.process.poll() is not None:
            return
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_SECONDS)
                return


def run(
    image: Image,
    directory: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    empty: tuple[str, ...] = (),
) -> Container:
    """Run a command to its end in a container of its own and return that; `directory` must not exist."""
    container = Container(directory.name, tuple(command), dict(environment), directory, empty)
    try:
        container.start(image).wait()
    finally:
        container.stop()
    return container
