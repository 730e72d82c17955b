# mypy: ignore-errors
"""Two steps whose environments cannot be, and one whose can."""

from metaflow import FlowSpec, conda, step


class ImpossibleFlow(FlowSpec):
    """It never runs."""

    @conda(libraries={"tabular": "9.9"}, python="3.12.*")
    @step
    def start(self):
        """Ask for a version that there is not."""
        self.next(self.middle)

    @conda(libraries={"tabular": "1.4.0"}, python="3.12.*")
    @step
    def middle(self):
        """Ask for what there is."""
        self.next(self.end)

    @conda(libraries={"nobody-has-this": "1.0"}, python="3.12.*")
    @step
    def end(self):
        """Ask for a package that there is not."""


if __name__ == "__main__":
    ImpossibleFlow()
