# mypy: ignore-errors
"""What older documentation shows: it works, and says once what to write instead."""

from metaflow import FlowSpec, conda, pip, step


class OldFormsFlow(FlowSpec):
    """Each step checks its versions."""

    @conda(libraries={"tabular": "1.4.0"}, pip_packages={"frames": "1.4.0"}, python="3.12.*")
    @step
    def start(self):
        """Have both kinds by one decorator."""
        import frames
        import tabular

        assert (tabular.VERSION, frames.VERSION) == ("1.4.0", "1.4.0")
        self.next(self.named)

    @conda(name="team/tabular:v1")
    @step
    def named(self):
        """Have a name in the decorator of packages."""
        import tabular

        assert tabular.VERSION == "1.4.0"
        self.next(self.end)

    @pip(packages={"frames": "1.5.0"}, python="3.12.*")
    @step
    def end(self):
        """Have the decorator's first name."""
        import frames

        assert frames.VERSION == "1.5.0"


if __name__ == "__main__":
    OldFormsFlow()
