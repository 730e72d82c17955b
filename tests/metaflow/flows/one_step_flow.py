# mypy: ignore-errors
"""One step with an environment, which Metaflow tries again when it fails."""

import sys

from metaflow import FlowSpec, conda, current, retry, step


class OneStepFlow(FlowSpec):
    """Says where it runs."""

    @retry(times=2, minutes_between_retries=0)
    @conda(python="3.10", packages={"six": "1.17.0"})
    @step
    def start(self):
        """Note where."""
        import six

        self.found = [six.__version__, "{}.{}".format(*sys.version_info), current.retry_count]
        self.next(self.end)

    @retry(times=2, minutes_between_retries=0)
    @conda(disabled=True)
    @step
    def end(self):
        """Tell."""
        print("FOUND", self.found)  # noqa: T201 - what a user sees in the log


if __name__ == "__main__":
    OneStepFlow()
