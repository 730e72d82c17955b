# mypy: ignore-errors
"""A wide foreach whose tasks all want one environment."""

import sys

from metaflow import FlowSpec, Parameter, conda, step


class WideFlow(FlowSpec):
    """Fans out and counts prefixes."""

    width = Parameter("width", default=50)

    @conda(disabled=True)
    @step
    def start(self):
        """Fan out."""
        self.items = list(range(self.width))
        self.next(self.fan, foreach="items")

    @conda(python="3.10", packages={"six": "1.17.0"})
    @step
    def fan(self):
        """Note where."""
        import six

        self.found = [six.__version__, sys.prefix]
        self.next(self.join)

    @conda(disabled=True)
    @step
    def join(self, inputs):
        """Collect."""
        self.all_found = [each.found for each in inputs]
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        """Nothing."""


if __name__ == "__main__":
    WideFlow()
