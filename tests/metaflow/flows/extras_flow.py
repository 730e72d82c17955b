# mypy: ignore-errors
"""A step that asks an index for versions that are not final."""

from metaflow import FlowSpec, conda, pypi, step


class ExtrasFlow(FlowSpec):
    """The step checks its version."""

    @pypi(packages={"frames": ">=1.5"}, extras=["--pre"], python="3.12.*")
    @step
    def start(self):
        """Have the version before the next one."""
        import frames

        assert frames.VERSION == "1.6rc1"
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        """Be outside."""


if __name__ == "__main__":
    ExtrasFlow()
