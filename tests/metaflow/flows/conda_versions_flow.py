# mypy: ignore-errors
"""Two versions of one package in two steps, on two Pythons; a package of the flow, and one that a step adds."""

import os
import sys

from metaflow import FlowSpec, conda, conda_base, step


@conda_base(libraries={"tabular": "1.4.0"}, python="3.12.*")
class CondaVersionsFlow(FlowSpec):
    """Each step checks its versions and its interpreter."""

    @step
    def start(self):
        """Have what the flow asks for."""
        import tabular

        assert tabular.VERSION == "1.4.0"
        assert sys.version_info[:2] == (3, 12)
        self.prefixes = [sys.prefix]
        self.next(self.other)

    @conda(libraries={"tabular": "1.5.0", "arrays": ">=1.0,<2"}, python="3.9.*")
    @step
    def other(self):
        """Replace it, and add one."""
        import arrays
        import tabular

        assert tabular.VERSION == "1.5.0"
        assert arrays.VERSION == "1.21.5"
        assert sys.version_info[:2] == (3, 9)
        programs = os.environ["PATH"].split(os.pathsep)[0]
        assert os.path.realpath(programs) == os.path.realpath(sys.prefix + "/bin")
        self.prefixes = [*self.prefixes, sys.prefix]
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        """Be outside."""
        self.prefixes = [*self.prefixes, sys.prefix]
        assert len(set(self.prefixes)) == 3


if __name__ == "__main__":
    CondaVersionsFlow()
