# mypy: ignore-errors
"""Two steps with names that nobody has given."""

from metaflow import FlowSpec, named_env, step


class NamelessFlow(FlowSpec):
    """It never runs."""

    @named_env(name="team/first:v1")
    @step
    def start(self):
        """Name one."""
        self.next(self.end)

    @named_env(name="team/second:v1")
    @step
    def end(self):
        """Name another."""


if __name__ == "__main__":
    NamelessFlow()
