"""The process that downloads one snapshot: it can be ended at any moment, and so can its parent.

It is told what to do in a line of JSON on standard input, so that the token is in no argument and no variable, and it
ends when that input ends. It answers with a line of JSON on standard output. Python 3.7; needs `huggingface_hub`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import sys
import threading
from typing import Any, NamedTuple

_BLOCK_BYTES = 1 << 20
_BLOCKS_BETWEEN_SIGNS = 256

# run with -c: the path is the parent's, whatever of it came from variables
COMMAND = (
    "import json,sys; job=json.loads(sys.stdin.readline()); sys.path[:]=job['sys_path'];"
    " from asynccache.metaflow.huggingface.download import main; main(job)"
)


class DamagedFileError(Exception):
    """A file is not what the hub says it is."""


class _Digest(NamedTuple):
    algorithm: str
    value: str
    prefix: bytes  # what is hashed before the content


def main(job: dict[str, Any]) -> None:
    """Download, answer, and end the process.

    Args:
        job: `repo`, `commit`, `directory` (what is there already is gone on from), `endpoint`, `token`, `timeout`
            (seconds for one answer of the hub), `locks` (whether files can be locked in the directory).
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        download(job)
        answer: dict[str, Any] = {}
    except BaseException as error:  # noqa: BLE001 - all that happens is said to the parent
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(1 if answer else 0)  # threads of a failed download are not waited for


def download(job: dict[str, Any]) -> None:
    """Fill a directory with the files of a commit, each checked against the digest that the hub names.

    Raises:
        DamagedFileError: A file came differently, twice; nothing of it is left.
        Exception: What huggingface_hub raises.
    """
    if not job["locks"]:
        # nothing else uses the directory, and kernel locks, for which huggingface_hub takes this name, would fail
        filelock: Any = importlib.import_module("filelock")
        filelock.FileLock = filelock.SoftFileLock
    from huggingface_hub import HfApi, __version__  # noqa: PLC0415 - an optional dependency, and slow to import

    directory, commit = job["directory"], job["commit"]
    state = os.path.join(directory, ".cache", "huggingface")
    api = HfApi(endpoint=job["endpoint"], token=job["token"] or False)
    version = tuple(int(part) for part in __version__.split(".")[:2])
    # before 0.23, large files were by default links to a cache elsewhere
    options = {"local_dir_use_symlinks": False} if version < (0, 23) else {}
    expected = _digests(api.model_info(job["repo"], revision=commit, files_metadata=True, timeout=job["timeout"]))
    for again in (True, False):
        api.snapshot_download(
            job["repo"],
            revision=commit,
            local_dir=directory,
            cache_dir=os.path.join(state, "hub"),
            etag_timeout=job["timeout"],
            **options,
        )
        damaged = [
            name for name, digest in expected.items() if not _is(os.path.join(directory, name), digest, directory)
        ]
        if not damaged:
            break
        for name in damaged:
            if os.path.lexists(os.path.join(directory, name)):
                os.remove(os.path.join(directory, name))
        shutil.rmtree(state, ignore_errors=True)  # it says that these files are there
        if not again:
            raise DamagedFileError(
                f"{min(damaged)} does not have the digest that the hub names for it, downloaded twice"
            )
    shutil.rmtree(state, ignore_errors=True)
    if os.path.isdir(os.path.dirname(state)) and not os.listdir(os.path.dirname(state)):
        os.rmdir(os.path.dirname(state))


def _digests(info: Any) -> dict[str, _Digest]:
    """Return what the hub says of each file: SHA-256 of those in large file storage, git's object name of others."""
    found = {}
    for file in info.siblings or ():
        large = file.lfs
        sha256 = large.get("sha256") if isinstance(large, dict) else getattr(large, "sha256", None)
        if sha256:
            found[file.rfilename] = _Digest("sha256", sha256, b"")
        elif file.blob_id and file.size is not None:
            found[file.rfilename] = _Digest("sha1", file.blob_id, b"blob %d\0" % file.size)
    return found


def _is(path: str, digest: _Digest, directory: str) -> bool:
    if not os.path.isfile(path):
        return False
    state = hashlib.new(digest.algorithm, digest.prefix)
    with open(path, "rb") as file:
        for count, block in enumerate(iter(lambda: file.read(_BLOCK_BYTES), b"")):
            state.update(block)
            if count % _BLOCKS_BETWEEN_SIGNS == 0:
                os.utime(directory)  # shows waiting processes that this goes on
    return state.hexdigest() == digest.value


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
