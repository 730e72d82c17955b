"""Draw the rooms of asynccache out of its code: which there are, and which each of them imports from.

    python .ci/draw_rooms.py            # the picture for docs/architecture.md
    python .ci/draw_rooms.py --figures  # also files, code lines and public names of each room, for before and after

A room is a folder of `asynccache`, or one of `resolve`. Imports count whenever they happen, but for type checkers.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from count_code import code_lines

PACKAGE = Path(__file__).resolve().parents[1] / "asynccache"
ROOMS = (
    "metaflow", "api", "ops", "hydrate", "resolve", "resolve/build", "resolve/conda", "resolve/pypi", "resolve/formats",
    "resolve/requests", "catalog", "engine", "store", "archive", "runtime", "config", "model", "boot", "node", "errors",
)  # fmt: skip


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module, given the parts of its name behind `asynccache`."""
    inner = "/".join(parts[:2])
    return inner if inner in ROOMS else parts[0]


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield what of asynccache a module imports, as the names of modules or of what is in them."""
    typing = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING"
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and id(node) not in typing
            and (node.module or "").startswith("asynccache.")
        ):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def edges() -> dict[str, set[str]]:
    """Return room -> the rooms that it imports from."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            names = (name.split(".")[1:] for name in imported(ast.parse(path.read_text("utf-8"))))
            found[room_of(parts)] |= {room_of(tuple(name)) for name in names}
    return {room: found[room] - {room} for room in ROOMS}


def picture() -> str:
    """Return a grid: a row for each room, highest first, and a mark below each room that it imports from."""
    drawn, width = edges(), max(map(len, ROOMS))
    columns = [room.rpartition("/")[2] for room in ROOMS[1:]]
    height = max(map(len, columns))
    lines = [" " * (width + 1) + " ".join(c.rjust(height)[i] for c in columns) for i in range(height)]
    for row, room in enumerate(ROOMS):
        marks = [
            "■" if other in drawn[room] else "·" if column >= row else " " for column, other in enumerate(ROOMS[1:])
        ]
        lines.append(f"{room:<{width}} {' '.join(marks)}".rstrip())
    return "\n".join(line.rstrip() for line in lines) + "\n"


def figures() -> str:
    """Return a line for each room: files, code lines, public names."""
    lines = [f"{'room':<18}{'files':>6}{'lines':>7}{'names':>7}"]
    for room in ROOMS:
        paths = [p for p in PACKAGE.rglob("*.py") if room_of(p.relative_to(PACKAGE).with_suffix("").parts) == room]
        texts = [path.read_text("utf-8") for path in paths]
        names = sum(
            isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
            for text in texts
            for node in ast.parse(text).body
        )
        lines.append(f"{room:<18}{len(paths):>6}{sum(map(code_lines, texts)):>7}{names:>7}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(picture())
    if "--figures" in sys.argv:
        print(figures())
