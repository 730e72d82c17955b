# mypy: ignore-errors
"""A loop and a join in an environment of their own, to look at afterwards."""

import sys

from metaflow import FlowSpec, conda_base, named_env, step  # noqa: F401 - the second only extensions have


@conda_base(libraries={"tabular": "1.4.0"}, python="3.12.*")
class DebuggedFlow(FlowSpec):
    """Adds up what a loop found."""

    @step
    def start(self):
        """Have a list."""
        self.items = [1, 2]
        self.next(self.work, foreach="items")

    @step
    def work(self):
        """Use what the environment has."""
        import tabular

        self.found = f"{self.input} {tabular.VERSION} {sys.prefix}"
        self.next(self.join)

    @step
    def join(self, inputs):
        """Take all of them."""
        self.total = sorted(each.found for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        """Keep them."""


if __name__ == "__main__":
    DebuggedFlow()
