"""An index of conda-forge's size out of a sample of it: names are copied until there are as many records.

A copy has a name, file names and digests of its own and needs what its original needs, so that a solve meets the same
packages in a larger index. The same records are written twice: as one document, and in shards as CEP 16 has them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.harness import REPOSITORY, ContenderError

SUBDIRS: Final = ("linux-64", "noarch")
PLAIN: Final = "full"
SHARDED: Final = "full-sharded"
_VERSION: Final = 1  # of what is written: another one makes it again
_BUILD_SECONDS: Final = 1800
_COPY: Final = "-copy"
_GROUPS: Final = ("packages", "packages.conda")

Record = dict[str, Any]
Index = dict[str, dict[str, Record]]
"""`packages` and `packages.conda`: file name -> record."""


def load(sample: Path, records: int) -> Path:
    """Return the directory with both channels, making them when they are not there.

    Args:
        sample: A channel with `SUBDIRS`, each with `repodata.json.zst`.
        records: How many there are to be in all.

    Raises:
        ContenderError: It could not be made.
    """
    state = hashlib.sha256(f"{_VERSION} {records}".encode())
    for subdir in SUBDIRS:
        state.update((sample / subdir / "repodata.json.zst").read_bytes())
    directory = REPOSITORY / ".cache" / "bench" / f"index-{state.hexdigest()[:12]}"
    if not directory.is_dir():
        command = [sys.executable, "-m", "bench.index_input", str(sample), str(records), str(directory)]
        made = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
        )
        if made.returncode != 0:
            reason = " / ".join(made.stderr.strip().splitlines()[-3:])
            raise ContenderError(f"an index of {records} records could not be made: {reason}")
    return directory


def _make(sample: Path, records: int, final: Path) -> None:
    originals = {subdir: _read(sample / subdir) for subdir in SUBDIRS}
    found = sum(len(group) for index in originals.values() for group in index.values())
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f"{final.name}.") as building:
        root = Path(building, "channels")
        for subdir, original in originals.items():
            index: Index = {
                name: dict(itertools.islice(_copies(group), records * len(group) // found))
                for name, group in original.items()
            }
            _write_plain(root / PLAIN / subdir, subdir, index)
            _write_shards(root / SHARDED / subdir, subdir, index)
        root.rename(final)


def _read(directory: Path) -> Index:
    packed = subprocess.run(
        ["zstd", "-q", "-d", "-c", "repodata.json.zst"], cwd=directory, check=True, capture_output=True
    )
    document = json.loads(packed.stdout)
    return {group: document.get(group, {}) for group in _GROUPS}


def _copies(group: dict[str, Record]) -> Iterator[tuple[str, Record]]:
    yield from group.items()
    for number in itertools.count(1) if group else ():
        for file, record in group.items():
            name, ending = record["name"], file[len(record["name"]) :]
            digests: Record = {
                key: getattr(hashlib, key)(f"{number} {record[key]}".encode()).hexdigest()
                for key in ("md5", "sha256")
                if key in record
            }
            yield f"{name}{_COPY}{number}{ending}", {**record, "name": f"{name}{_COPY}{number}", **digests}


def _write_plain(directory: Path, subdir: str, index: Index) -> None:
    directory.mkdir(parents=True)
    document = {"info": {"subdir": subdir}, **index, "removed": [], "repodata_version": 1}
    (directory / "repodata.json").write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    subprocess.run(["zstd", "-q", "-k", "repodata.json"], cwd=directory, check=True)


def _write_shards(directory: Path, subdir: str, index: Index) -> None:
    import msgpack  # noqa: PLC0415 - the measuring process stays small
    import zstandard  # noqa: PLC0415

    directory.mkdir(parents=True)
    by_name: dict[str, Index] = {}
    for group, records in index.items():
        for file, record in records.items():
            digests: Record = {key: bytes.fromhex(record[key]) for key in ("md5", "sha256") if key in record}
            by_name.setdefault(record["name"], {key: {} for key in _GROUPS})[group][file] = {**record, **digests}
    compressor, shards = zstandard.ZstdCompressor(level=3), {}
    for name, shard in by_name.items():
        data = compressor.compress(msgpack.packb({**shard, "removed": []}))
        digest = hashlib.sha256(data)
        shards[name] = digest.digest()
        if _COPY not in name:  # nothing needs a copy, so its shard is never requested
            (directory / f"{digest.hexdigest()}.msgpack.zst").write_bytes(data)
    listed = {"info": {"subdir": subdir, "base_url": "./", "shards_base_url": "./"}, "shards": shards}
    (directory / "repodata_shards.msgpack.zst").write_bytes(compressor.compress(msgpack.packb(listed)))


if __name__ == "__main__":
    _make(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
