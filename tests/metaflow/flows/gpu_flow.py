# mypy: ignore-errors
"""A step that asks for a GPU, of packages of which there are builds for CPUs only."""

from metaflow import FlowSpec, conda, resources, step


class GpuFlow(FlowSpec):
    """It is only resolved."""

    @resources(gpu=1)
    @conda(libraries={"accelerated": "1.0"}, python="3.12.*")
    @step
    def start(self):
        """Want a GPU."""
        self.next(self.end)

    @conda(libraries={"accelerated": "1.0"}, python="3.12.*")
    @step
    def end(self):
        """Want none."""


if __name__ == "__main__":
    GpuFlow()
