# mypy: ignore-errors
"""Steps with what the project's lock says."""

import os
import sys

from metaflow import FlowSpec, resolved_req, resolved_uv, step

locked = resolved_req if os.environ.get("LOCK") == "requirements" else resolved_uv


@locked()
class LockedFlow(FlowSpec):
    """Each step checks its versions."""

    @step
    def start(self):
        """Have what is locked, though there is a newer one."""
        import frames

        assert frames.VERSION == "1.4.0"
        assert sys.version_info[:2] == (3, 12)
        self.next(self.end)

    @step
    def end(self):
        """Have the same."""
        import frames

        assert frames.VERSION == "1.4.0"


if __name__ == "__main__":
    LockedFlow()
