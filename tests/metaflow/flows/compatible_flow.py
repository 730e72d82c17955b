# mypy: ignore-errors
"""A step whose additions the environment that it names meets already."""

from metaflow import FlowSpec, conda, named_env_base, step


@named_env_base(name="team/tabular:v1")
class CompatibleFlow(FlowSpec):
    """Shown, never run."""

    @conda(libraries={"tabular": ">=1.4,<1.5"})
    @step
    def start(self):
        """Ask for what is there."""
        self.next(self.end)

    @step
    def end(self):
        """Ask for nothing more."""


if __name__ == "__main__":
    CompatibleFlow()
