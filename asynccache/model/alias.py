"""Aliases of environments: what users write, and what is stored (contract, section 2.5)."""

from __future__ import annotations

import re
from typing import Final, Literal

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass

AliasKind = Literal["generic", "pathspec", "both-id", "full-id"]
MUTABLE_TAGS: Final = ("latest", "candidate", "stable")
_NAME = re.compile(r"[a-z0-9_-][a-z0-9_/-]*(?<!/)|[a-z0-9_-]")
_TAG = re.compile(r"[a-z0-9_-]*")
_BOTH = re.compile(r"[0-9a-f]{40}:[0-9a-f]{40}")
_BOTH_LENGTH: Final = 81
_FULL = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Alias:
    """One name of an environment.

    Attributes:
        kind: `generic` (a name and a tag), `pathspec` (the step of a run), `both-id` (the identity itself), `full-id`.
        stored: Its format in documents and keys: `NAME/TAG`, `Flow/Run/Step`, or the ids.
    """

    kind: AliasKind
    stored: str

    @classmethod
    def parse(cls, text: str, *, full_ids: bool = False) -> Alias:
        """Parse what a user wrote.

        Args:
            text: `NAME[:TAG]`, `step:Flow/Run/Step[/Task]`, or `REQ_ID:FULL_ID`.
            full_ids: Accept 40 hexadecimal digits as a `full_id`. Other readers refuse them, so no alias is stored like
                this.

        Raises:
            UsageError: None of these.

        >>> Alias.parse("team/env:v1")
        Alias(kind='generic', stored='team/env/v1')
        """
        if text.startswith("step:"):
            return cls.pathspec(text.removeprefix("step:"))
        if _BOTH.fullmatch(text):
            return cls("both-id", text)
        if len(text) == _BOTH_LENGTH and text[_BOTH_LENGTH // 2] == ":":
            raise UsageError(f"{text!r} is no environment alias", expected="two ids of 40 hexadecimal digits")
        if _FULL.fullmatch(text):
            if full_ids:
                return cls("full-id", text)
            raise UsageError(
                f"{text!r} is no environment alias: it names no request", expected="REQ_ID:FULL_ID or NAME[:TAG]"
            )
        name, separator, tag = text.rpartition(":")
        if not separator:
            name, tag = text, "latest"
        if not _NAME.fullmatch(name) or not _TAG.fullmatch(tag):
            raise UsageError(
                f"{text!r} is no environment alias",
                expected="NAME[:TAG] of a-z, 0-9, - and _, with / in the name but not at its ends",
            )
        return cls("generic", f"{name}/{tag}")

    @classmethod
    def pathspec(cls, text: str, *, partial: bool = False) -> Alias:
        """Parse `Flow/Run/Step` or `Flow/Run/Step/Task`, for look-ups also `Flow` and `Flow/Run`.

        Raises:
            UsageError: The number of components is wrong.
        """
        parts = text.split("/")
        if not all(parts) or not (1 if partial else 3) <= len(parts) <= 4:
            also = "Flow, Flow/Run, " if partial else ""
            raise UsageError(f"{text!r} is no pathspec", expected=f"{also}Flow/Run/Step or Flow/Run/Step/Task")
        return cls("pathspec", "/".join(parts[:3]))

    @property
    def mutable(self) -> bool:
        """Whether the alias may be moved to another environment."""
        return self.kind == "generic" and self.stored.rsplit("/", 1)[-1] in MUTABLE_TAGS

    def __str__(self) -> str:
        if self.kind == "generic":
            name, _, tag = self.stored.rpartition("/")
            return f"{name}:{tag}"
        return f"step:{self.stored}" if self.kind == "pathspec" else self.stored
