"""Both at once: writers of ours beside those of the real extension, on one list of environments.

python -m tests.compat.beside DIRECTORY NAME     one writer of ours, a name for each line of standard input
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from asynccache.catalog.local import LocalManifest
from asynccache.model.alias import Alias

ROUNDS: Final = 100
WRITERS: Final = 4  # of each side


def lost_beside(directory: Path, python: Path, side: Path, environment: dict[str, str]) -> list[str]:
    """Let both sides write, and return which names of ours are not there at the end.

    Args:
        directory: Of the list.
        python: Interpreter of the extension.
        side: The extension's half, a script.
        environment: Variables of its processes.
    """
    ours = [[sys.executable, "-m", "tests.compat.beside", str(directory), str(n)] for n in range(WRITERS)]
    theirs = [[str(python), str(side), "beside", str(directory), str(n)] for n in range(WRITERS)]
    with ExitStack() as stack:
        writers = [stack.enter_context(_started(command, environment)) for command in (*ours, *theirs)]
        for writer in writers:
            _expect(writer, "ready")
        for number in range(ROUNDS):
            for writer in writers:  # all before any has answered
                assert writer.stdin is not None
                writer.stdin.write(f"{number}\n")
                writer.stdin.flush()
            for writer in writers:
                _expect(writer, str(number))
    names = json.loads((directory / "conda_v2.cnd").read_bytes())["aliases"]
    wanted = [f"ours/{n}-{number}" for n in range(WRITERS) for number in range(ROUNDS)]
    return [name for name in wanted if name not in names]


@contextmanager
def _started(command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    ) as writer:
        try:
            yield writer
        finally:
            assert writer.stdin is not None
            writer.stdin.close()
            writer.wait(60)


def _expect(writer: subprocess.Popen[str], word: str) -> None:
    assert writer.stdout is not None
    said = writer.stdout.readline().strip()
    if said != word:
        raise RuntimeError(f"a writer said {said!r} instead of {word!r}")


def _write(directory: Path, name: str) -> None:
    manifest = LocalManifest(directory / "conda_v2.cnd")
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        alias = Alias("generic", f"ours/{name}-{line.strip()}")
        manifest.update(lambda m, a=alias: m.assign(a, ("a" * 40, "b" * 40)))  # type: ignore[misc]
        print(line, end="", flush=True)  # noqa: T201


if __name__ == "__main__":
    _write(Path(sys.argv[1]), sys.argv[2])
