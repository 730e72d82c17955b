# mypy: ignore-errors
"""A flow whose steps ask for environments in the ways whose ids have differed once."""

from metaflow import FlowSpec, conda, conda_base, pypi, step, sys_packages


@conda_base(python="3.11.*")
class AskFlow(FlowSpec):
    """Shown, never run."""

    @conda(libraries={"app": "*", "native": ">=1, <2", "requests": ">=2.0, <3"}, channels=["mine"])
    @step
    def start(self):
        """Ask for any version, and ranges with blanks."""
        self.next(self.wheels)

    @pypi(packages={"six": "1.16.0", "requests": ">=2.22"}, extra_indices=["https://extra.test/simple"])
    @step
    def wheels(self):
        """Ask for PyPI packages of the configured indexes."""
        self.next(self.both)

    @conda(libraries={"app": "1.0.0"})
    @pypi(packages={"six": ">=1.15"})
    @step
    def both(self):
        """Ask for packages of both kinds."""
        self.next(self.plain)

    @sys_packages(packages={"__glibc": "2.17"})
    @step
    def plain(self):
        """Ask for nothing but a virtual package."""
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        """Ask for no environment."""


if __name__ == "__main__":
    AskFlow()
