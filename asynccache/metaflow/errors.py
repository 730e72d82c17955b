"""Failures as Metaflow shows them: a headline and a sentence."""

from __future__ import annotations

from metaflow.exception import MetaflowException

from asynccache.metaflow.wording import in_metaflows_words


class CondaException(MetaflowException):
    """An environment cannot be obtained."""

    headline = "Conda ran into an error while setting up environment"


class CondaStepException(CondaException):
    """The environments of some steps cannot be obtained."""


def as_metaflow(error: Exception, where: str = "") -> CondaException:
    """Return a failure of the engine, or several, as Metaflow shows it."""
    several = getattr(error, "errors", None)
    if several:
        lines = [f"{what}: {each}" for what, each in several.items()]
        return CondaException(in_metaflows_words("{}\n{}".format(error, "\n".join(lines))))
    return CondaException(in_metaflows_words(f"{where}{error}"))
