# mypy: ignore-errors
"""An environment by its name, extended, by the step of a run, and looked up when the task starts."""

import os
import sys

from metaflow import FlowSpec, Parameter, conda, named_env, named_env_base, step


@named_env_base(name="team/tabular:v1")
class NamedFlow(FlowSpec):
    """Each step checks its versions."""

    which = Parameter("which", default="v1")

    @step
    def start(self):
        """Have what the name means."""
        import tabular

        assert tabular.VERSION == "1.4.0"
        self.prefix = sys.prefix
        self.next(self.more)

    @conda(libraries={"arrays": "1.21.5"})
    @step
    def more(self):
        """Have more on top of it."""
        import arrays
        import tabular

        assert (tabular.VERSION, arrays.VERSION) == ("1.4.0", "1.21.5")
        self.next(self.past)

    @named_env(pathspec=os.environ.get("PAST_STEP", "CondaVersionsFlow/1/other"))
    @step
    def past(self):
        """Have what a past step had."""
        import tabular

        assert tabular.VERSION == "1.5.0"
        assert sys.version_info[:2] == (3, 9)
        self.next(self.late)

    @named_env(name="team/tabular:@{METAFLOW_INIT_WHICH}", fetch_at_exec=True)
    @step
    def late(self):
        """Have what the name means when the task starts."""
        import tabular

        assert tabular.VERSION == "1.4.0"
        assert sys.prefix == self.prefix
        self.next(self.end)

    @named_env(disabled=True)
    @step
    def end(self):
        """Be outside."""


if __name__ == "__main__":
    NamedFlow()
