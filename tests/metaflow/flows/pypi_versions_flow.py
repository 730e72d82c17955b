# mypy: ignore-errors
"""Two versions of one package in two steps from an index; a step with conda and PyPI packages together."""

import sys

from metaflow import FlowSpec, conda, pypi, step


class PypiVersionsFlow(FlowSpec):
    """Each step checks its versions and its interpreter."""

    @pypi(packages={"frames": "1.4.0"}, python="3.12.*")
    @step
    def start(self):
        """Have one version."""
        import frames

        assert frames.VERSION == "1.4.0"
        self.first = sys.prefix
        self.next(self.other)

    @pypi(packages={"frames": "1.5.0"}, python="3.12.*")
    @step
    def other(self):
        """Have another."""
        import frames

        assert frames.VERSION == "1.5.0"
        assert sys.prefix != self.first
        self.next(self.mixed)

    @conda(libraries={"tabular": "1.5.0"}, python="3.12.*")
    @pypi(packages={"frames": ">=1.5"})
    @step
    def mixed(self):
        """Have both kinds."""
        import frames
        import tabular

        assert (frames.VERSION, tabular.VERSION) == ("1.5.0", "1.5.0")
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        """Be outside."""


if __name__ == "__main__":
    PypiVersionsFlow()
