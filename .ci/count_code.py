"""Count code lines per room: no blank lines, comments or docstrings.

    python .ci/count_code.py [DIRECTORY]

A line counts when a token other than a comment or a docstring stands on it, so reformatting a statement counts and
explaining it does not. Also printed: the share of public definitions with a docstring, and the longest line.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

ROOTS = ("asynccache", "cli", "bench", "metaflow_extensions")
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(text: str) -> int:
    """Return the number of lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(lines)


def documented(text: str) -> tuple[int, int]:
    """Return (public definitions with a docstring, public definitions)."""
    public = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, _DEFINITIONS) and not getattr(node, "name", "").startswith("_")
    ]
    return sum(ast.get_docstring(node) is not None for node in public), len(public)


def main() -> None:
    """Print a line per room."""
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    rooms: dict[str, int] = {}
    described = definitions = longest = 0
    for root in ROOTS:
        for path in sorted((base / root).rglob("*.py")):
            text = path.read_text("utf-8")
            inside = path.relative_to(base / root).parts
            room = f"{root}/{inside[0]}" if root == "asynccache" and len(inside) > 1 else root
            rooms[room] = rooms.get(room, 0) + code_lines(text)
            with_docstring, public = documented(text)
            described, definitions = described + with_docstring, definitions + public
            longest = max([longest, *map(len, text.splitlines())])
    for room, count in sorted(rooms.items()):
        print(f"{count:7}  {room}")
    print(f"{sum(rooms.values()):7}  in all; {described} of {definitions} public definitions documented;"
          f" longest line {longest}")  # fmt: skip


if __name__ == "__main__":
    main()
