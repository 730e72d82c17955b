# mypy: ignore-errors
"""Steps that use models of a hub."""

from pathlib import Path

from metaflow import FlowSpec, current, huggingface, step
from metaflow.exception import MetaflowException


def content(directory):
    """Return all files below a directory, by path."""
    root = Path(directory).resolve()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class HuggingFaceFlow(FlowSpec):
    """A list, a map, information only, and a step without models."""

    @step
    def start(self):
        """Look for models where there are none."""
        try:
            _ = current.huggingface
        except RuntimeError as error:
            self.outside = str(error)
        self.there = "huggingface" in current
        self.which = [0, 1, 2]
        self.next(self.many, foreach="which")

    @huggingface(models=["team/tiny"], lazy=False)
    @step
    def many(self):
        """Use one, at the same time as others do."""
        self.path = current.huggingface.models["team/tiny"]
        self.files = content(self.path)
        self.next(self.join)

    @huggingface(models={"old": "team/tiny@v1", "new": "team/tiny", "never": "team/absent"})
    @step
    def join(self, inputs):
        """Use two revisions, and one that is not there."""
        self.many_paths = [each.path for each in inputs]
        self.many_files = [each.files for each in inputs]
        self.merge_artifacts(inputs, include=["outside", "there"])
        self.paths = {name: current.huggingface.models[name] for name in ("old", "new")}
        self.old_files = content(self.paths["old"])
        self.keys = sorted(current.huggingface.models)
        try:
            current.huggingface.models["never"]
        except MetaflowException as error:
            self.refused = str(error)
            # what a user sees in the log
            print(repr(current.huggingface), repr(current.huggingface.models), error)  # noqa: T201
        self.next(self.end)

    @huggingface(models={"probe": "team/tiny"}, metadata_only=True)
    @step
    def end(self):
        """Ask for information only."""
        info = current.huggingface.model_info["probe"]
        self.info = [info.id, info.sha, type(info).__name__]


if __name__ == "__main__":
    HuggingFaceFlow()
