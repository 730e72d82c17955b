"""Which models a step names: `REPO[@REVISION]`, and the directory that each gets (contract, section 7.7).

Standard library and Metaflow, Python 3.7.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple
from urllib.parse import quote

from metaflow.exception import MetaflowException

DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_LONGEST_BYTES = 200  # of a file's name; 255 are allowed, and a suffix must fit


class HuggingFaceException(MetaflowException):
    """A model cannot be obtained, or what was asked for makes no sense."""

    headline = "Hugging Face model not available"


class Model(NamedTuple):
    """A repository of models at a revision.

    Attributes:
        repo: Such as `openai-community/gpt2`.
        revision: A branch, a tag or a commit.
    """

    repo: str
    revision: str

    @property
    def directory(self) -> str:
        """The name of the directory that shows its files: one path component, whatever the revision is called."""
        return "{}_{}".format(quote(self.repo, safe=""), quote(self.revision, safe=""))

    @property
    def is_commit(self) -> bool:
        """Whether the revision can never mean other files than it does now."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


def read_models(models: Any) -> dict[str, Model]:
    """Return the models that `@huggingface(models=...)` names, by the key under which a step finds them.

    Args:
        models: A list of `REPO[@REVISION]`, each its repository's name for a key, or a map alias -> `REPO[@REVISION]`.

    Raises:
        HuggingFaceException: There are none, or one is not written like that; says which.
    """
    if models is None or (isinstance(models, (list, tuple, Mapping)) and not models):
        raise HuggingFaceException(
            "@huggingface needs models: write @huggingface(models=['REPO@REVISION']) or models={'ALIAS': 'REPO'}"
        )
    if isinstance(models, Mapping):
        return {_alias(alias): _model(text) for alias, text in models.items()}
    if not isinstance(models, (list, tuple)):
        kind = type(models).__name__
        raise HuggingFaceException(
            f"@huggingface(models=...) takes a list of 'REPO@REVISION' or a map from alias to that, not a {kind}"
        )
    found: dict[str, Model] = {}
    for text in models:
        model = _model(text)
        if model.repo in found:
            raise HuggingFaceException(
                f"@huggingface(models=[...]) names '{model.repo}' twice: use a map with an alias for each revision"
            )
        found[model.repo] = model
    return found


def _wrong(said: str) -> HuggingFaceException:
    return HuggingFaceException(f"@huggingface(models=...) has {said}")


def _alias(alias: Any) -> str:
    if not isinstance(alias, str):
        raise _wrong(f"the alias {alias!r}: an alias is a text")
    if not alias.strip():
        raise _wrong("an empty alias: give each model a name")
    return alias


def _model(text: Any) -> Model:
    if not isinstance(text, str):
        raise _wrong(f"{text!r}: a model is written 'REPO' or 'REPO@REVISION'")
    repo, at, revision = (part.strip() for part in text.partition("@"))
    if not repo or (at and not revision):
        raise _wrong(f"'{text}': a model is written 'REPO' or 'REPO@REVISION', neither part empty")
    model = Model(repo, revision or DEFAULT_REVISION)
    unsafe = f"{text!r}, which is unsafe as a path: "
    for part in (*model.repo.split("/"), *model.revision.split("/")):
        if part in {"", ".", ".."} or _CONTROL.search(part):
            raise _wrong(unsafe + "no part of it may be empty, '.' or '..', or have a backslash or a control character")
    length = len(model.directory)
    if length > _LONGEST_BYTES:
        raise _wrong(f"{unsafe}its directory's name would have {length} bytes, and {_LONGEST_BYTES} are allowed")
    return model
