"""One line of what `--json` prints; docs/json.md says what is promised about it."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    LineType = Literal["event", "item", "result", "receipt", "error"]

SCHEMA = 1
"""Version of the contract: fields are added without notice, and it rises when one changes its meaning or goes."""


def json_line(kind: LineType, document: Mapping[str, object]) -> str:
    """Return a document as a line.

    Args:
        kind: `event`: something happened; `item`: one of many; `result`: the last line; `error`: why there is none.
        document: Plain values.
    """
    return json.dumps({"type": kind, "schema": SCHEMA, **document})
