"""Directories with the files of a model, whole or not there, that all tasks of a node use at once.

A snapshot is downloaded next to where it will be, checked, and then renamed. What a step sees is a link to it that is
replaced in one go when a branch has moved; whoever has files of the earlier snapshot open keeps them.

    PARENT/openai-community%2Fgpt2_main            link to:
    PARENT/.openai-community%2Fgpt2@<commit>       never changes
    PARENT/.openai-community%2Fgpt2@<commit>.partial, .lock

Standard library, `asynccache.node` and Metaflow, Python 3.7.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator
from urllib.parse import quote

from asynccache.metaflow.huggingface.auth import without_token
from asynccache.metaflow.huggingface.download import COMMAND
from asynccache.metaflow.huggingface.models import HuggingFaceException, Model
from asynccache.node.kernel_lock import LocksUnsupportedError, take

_PARTIAL = ".partial"  # of all tasks; what one task has alone has a name that goes on
_WAIT_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_SAID_BYTES = 2000


class Hub:
    """A hub, queried with a token that is sent to no other host.

    Args:
        endpoint: Its address, None for the one that huggingface_hub asks by itself.
        token: None to ask as anybody can.
        timeout: Seconds without any progress after which fetching fails.
    """

    def __init__(self, endpoint: str | None, token: str | None, timeout: int) -> None:
        self._endpoint = endpoint
        self._token = token
        self._timeout = timeout

    def model_info(self, model: Model) -> Any:
        """Return what the hub says of a model: `huggingface_hub.ModelInfo`.

        Raises:
            HuggingFaceException: It does not answer, or refuses.
        """
        from huggingface_hub import HfApi  # noqa: PLC0415 - an optional dependency, and slow to import

        try:
            # a token of False: huggingface_hub would look for others by itself
            api = HfApi(endpoint=self._endpoint, token=self._token or False)
            return api.model_info(model.repo, revision=model.revision, timeout=self._timeout)
        except Exception as error:  # noqa: BLE001 - the library's errors have no common base
            said = f"{type(error).__name__}: {error}"
        # outside of the handler: a traceback would show what the library said, headers perhaps among it
        raise self._failure(model, said)

    def snapshot(self, model: Model, parent: str) -> str:
        """Return the directory with a model's files, which are downloaded when they are not there.

        Args:
            model: Which one.
            parent: Absolute path of the directory in which snapshots are; is made.

        Raises:
            HuggingFaceException: They cannot be obtained. What was there before stays as it was.
        """
        commit = model.revision if model.is_commit else self._commit(model)
        name = ".{}@{}".format(quote(model.repo, safe=""), commit)
        place, link = os.path.join(parent, name), os.path.join(parent, model.directory)
        try:
            os.makedirs(parent, exist_ok=True)
            if not os.path.isdir(place):
                with self._alone(model, place) as partial:
                    if not os.path.isdir(place):
                        self._download(model, commit, partial)
                        _take_place(partial, place)
            _show(link, name)
        except OSError as error:
            raise HuggingFaceException(
                f"{model} cannot be stored in {parent} ({error.strerror or error}): name a directory on a local disk"
                " with enough room in @huggingface(local_dir=...) or HUGGINGFACE_LOCAL_DIR"
            ) from error
        return link

    def __repr__(self) -> str:
        return f"Hub({self._endpoint!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a hub has a token, which must not be stored")

    def _commit(self, model: Model) -> str:
        commit = self.model_info(model).sha
        if not isinstance(commit, str) or not Model(model.repo, commit).is_commit:
            raise self._failure(model, f"the hub names the commit {commit!r}, which is none")
        return commit

    def _failure(self, model: Model, said: str) -> HuggingFaceException:
        text = " ".join(without_token(said, self._token).split())
        asked = "with a token" if self._token else "without a token"
        return HuggingFaceException(
            "{} cannot be obtained from {}, asked {}: {}".format(model, self._endpoint or "the hub", asked, text)
        )

    @contextmanager
    def _alone(self, model: Model, place: str) -> Iterator[str]:
        """Be the only task of this node that downloads a snapshot; wait for another as long as it gets on.

        Yields the directory to download to: one of this task's own where the file system has no locks.
        """
        partial = place + _PARTIAL
        with open(place + ".lock", "ab") as lock:
            try:
                if not self._comes(lambda: take(lock.fileno(), lock.name), partial):
                    said = f"another task downloads it, without any progress for {self._timeout} s"
                    raise self._failure(model, said)
            except LocksUnsupportedError:
                partial += f".{os.getpid()}.{os.urandom(4).hex()}"
            try:
                yield partial
            finally:
                if not partial.endswith(_PARTIAL):
                    shutil.rmtree(partial, ignore_errors=True)

    def _download(self, model: Model, commit: str, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)
        job = {
            "sys_path": sys.path,
            "repo": model.repo,
            "commit": commit,
            "directory": directory,
            "endpoint": self._endpoint,
            "token": self._token,
            "timeout": self._timeout,
            "locks": directory.endswith(_PARTIAL),
        }
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
            process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-c", COMMAND],
                bufsize=0,  # what could not be written is no trouble when the pipe is closed
                stdin=subprocess.PIPE,
                stdout=answer,
                stderr=said,
                env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
            )
            with process:
                try:
                    _send_job(process, json.dumps(job))
                    ended = self._comes(lambda: process.poll() is not None, directory)
                finally:
                    process.kill()
            if not ended:
                raise self._failure(model, f"the download made no progress for {self._timeout} s")
            if process.returncode:
                raise self._failure(model, _reason(answer, said, process.returncode))

    def _comes(self, attempt: Callable[[], bool], directory: str) -> bool:
        """Attempt something until it succeeds; False if a directory does not change any more meanwhile."""
        seen: Any = None
        changed = looked = time.monotonic()
        while not attempt():
            now = time.monotonic()
            if now - looked >= _LOOK_SECONDS:
                state, looked = _state(directory), now
                if state != seen:
                    seen, changed = state, now
            if now - changed >= self._timeout + _LOOK_SECONDS:
                return False
            time.sleep(_WAIT_SECONDS)
        return True


def make_own(directory: str) -> None:
    """Make a directory at a place that others may have come to first.

    Raises:
        HuggingFaceException: It is another user's, who could put anything in there.
    """
    try:
        os.makedirs(directory, exist_ok=True)
        owner = os.stat(directory).st_uid
    except OSError as error:
        raise HuggingFaceException(
            f"{directory} cannot be made for models ({error.strerror}): name another in HUGGINGFACE_LOCAL_DIR"
        ) from error
    if owner not in {0, os.geteuid()}:
        raise HuggingFaceException(
            f"{directory} belongs to another user (uid {owner}), whose files are not used as models: name another"
            " directory in HUGGINGFACE_LOCAL_DIR, or that one if you trust it"
        )


def _state(directory: str) -> tuple[float, int, int]:
    """Return what changes while files are written below a directory: its time, the number of files, their blocks."""
    latest, count, blocks = 0.0, 0, 0
    for path, _names, files in os.walk(directory):
        for each in [path, *(os.path.join(path, name) for name in files)]:
            try:
                status = os.lstat(each)
            except OSError:
                continue  # was renamed in between
            count += 1
            blocks += status.st_blocks + status.st_size
            latest = max(latest, status.st_mtime)
    return latest, count, blocks


def _take_place(partial: str, place: str) -> None:
    """Give a snapshot its name; where there are no locks, another task may have been first."""
    try:
        os.rename(partial, place)
    except OSError:
        if not os.path.isdir(place):
            raise


def _show(link: str, name: str) -> None:
    """Make a path point to a snapshot beside it; it is never missing in between."""
    if os.path.islink(link) and os.readlink(link) == name:
        return
    if os.path.isdir(link) and not os.path.islink(link):
        os.rename(link, _free(link + ".replaced"))  # of another tool; it is not ours to remove
    fresh = f"{link}.{os.getpid()}.{os.urandom(4).hex()}"
    os.symlink(name, fresh)
    os.replace(fresh, link)


def _free(path: str) -> str:
    count = 0
    while os.path.lexists(f"{path}{count or ''}"):
        count += 1
    return f"{path}{count or ''}"


def _send_job(process: subprocess.Popen[bytes], job: str) -> None:
    """Write what is to be done; the pipe stays open, since the process ends when this one does."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # the process says why it does not read
            process.stdin.write(job.encode() + b"\n")


def _reason(answer: Any, said: Any, code: int) -> str:
    answer.seek(0)
    try:
        return str(json.loads(answer.read().decode())["error"])
    except (ValueError, KeyError):
        said.seek(0)
        tail = said.read()[-_SAID_BYTES:].decode(errors="replace").strip()
        return f"the process that downloads ended with {code}: {tail}"
