# mypy: ignore-errors
"""Steps with environments of their own, and one with none: a foreach, a task that fails once, a join."""

import os
import sys

from metaflow import FlowSpec, Parameter, conda, current, retry, step


def seen():
    """Return where a step runs: its Python, the version of six (None without it), its interpreter's prefix."""
    try:
        import six

        version = six.__version__
    except ImportError:
        version = None
    return ["{}.{}".format(*sys.version_info), version, sys.prefix, os.environ.get("HOME")]


class RemoteFlow(FlowSpec):
    """Fans out, fails as planned, joins; the last step has no environment."""

    width = Parameter("width", default=3)

    @conda(python="3.12", packages={"six": "1.16.0"})
    @step
    def start(self):
        """Fan out."""
        self.start_seen = seen()
        self.items = list(range(self.width))
        self.next(self.fan, foreach="items")

    @retry(times=2, minutes_between_retries=0)
    @conda(python="3.10", packages={"six": "1.17.0"})
    @step
    def fan(self):
        """Fail once in the second task."""
        if self.input == 1 and current.retry_count == 0:
            raise RuntimeError("the planned failure")
        self.found = [self.input, current.retry_count, *seen()]
        self.next(self.join)

    @conda(python="3.12", packages={"six": "1.16.0"})
    @step
    def join(self, inputs):
        """Collect."""
        self.merge_artifacts(inputs, exclude=["found"])
        self.all_found = sorted(each.found for each in inputs)
        self.join_seen = seen()
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        """Tell."""
        self.end_seen = seen()
        print("FOUND", self.all_found)  # noqa: T201 - what a user sees in the log


if __name__ == "__main__":
    RemoteFlow()
