# mypy: ignore-errors
"""A flow for trying stand-ins: a foreach in which one task fails once, and a join. Stock Metaflow runs it."""

import os
import sys
from pathlib import Path

from metaflow import FlowSpec, Parameter, current, retry, step


class PlainFlow(FlowSpec):
    """Fans out, fails as planned, joins."""

    width = Parameter("width", default=3)

    @step
    def start(self):
        """Fan out."""
        self.started_in = str(Path.cwd())
        self.items = list(range(self.width))
        self.next(self.fan, foreach="items")

    @retry(times=1, minutes_between_retries=0)
    @step
    def fan(self):
        """Fail once in the second task."""
        if self.input == 1 and current.retry_count == 0:
            raise RuntimeError("the planned failure")
        self.found = (self.input, current.retry_count, sys.prefix, os.environ.get("HOME"))
        self.next(self.join)

    @step
    def join(self, inputs):
        """Collect."""
        self.merge_artifacts(inputs, exclude=["found"])
        self.all_found = sorted(each.found for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        """Tell."""
        print("FOUND", self.all_found)  # noqa: T201 - what a user sees in the log


if __name__ == "__main__":
    PlainFlow()
