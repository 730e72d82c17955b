"""Every failure that asynccache raises on purpose, and every exit code of the command line.

One flat family by cause. A message is one sentence that says what was expected, what was found and what to do
next. Exceptions of libraries are mapped where they enter (`raise ... from exc`). `EXIT_CODES` is the one table of
codes: the command line's help, docs/errors.md and `as_document()` are made of it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# conda's token in the key or the address of a package: other writers make keys from addresses with tokens
_LOGIN = r"(?P<before>(?:\bconda/|https?://)[^\s'\"]*?/t/)[^/\s'\"]+(?=/[^\s'\"]*\.(?:conda|tar\.bz2))"


def without_tokens(text: str) -> str:
    """Return a text with conda's tokens taken out of the keys and addresses of packages in it.

    >>> without_tokens("packages/conda/host/t/tk/ch/noarch/a-1-0.conda/0f/a-1-0.conda is damaged")
    'packages/conda/host/t/***/ch/noarch/a-1-0.conda/0f/a-1-0.conda is damaged'
    """
    return re.sub(_LOGIN, r"\g<before>***", text) if "/t/" in text else text


class ExitCode(NamedTuple):
    """One code that the command line ends with.

    Attributes:
        code: The number.
        name: One word for it, `cause` in JSON.
        meaning: When, in half a sentence.
        retryable: Whether the same command may succeed if it is run again without any change; None if the code alone
            does not decide this: `retryable` of the JSON document does.
    """

    code: int
    name: str
    meaning: str
    retryable: bool | None


EXIT_CODES: dict[int, ExitCode] = {
    row[0]: ExitCode(*row)
    for row in (
        (0, "done", "everything asked for is there", False),
        (1, "mixed", "several things failed in different ways", None),
        (2, "usage", "the command, a URL, a list or a lock file is malformed", False),
        (3, "configuration", "a setting has an invalid value, or names a program that is not installed", False),
        (4, "fetch", "a package could not be fetched: a source does not answer, stalls, breaks off or is busy", True),
        (5, "integrity", "bytes are not what they should be: another digest, a damaged or hostile archive", False),
        (6, "store", "the store cannot be reached, is busy, or a conditional write lost", True),
        (7, "lock", "another process held a lock for longer than `lock_timeout`", True),
        (8, "disk", "the local disk is full, or cannot be read or written", False),
        (9, "not-found", "something that was asked for does not exist: an object, a name, a file, a store", False),
        (10, "unsatisfiable", "requirements cannot be met together", False),
        (11, "package-unknown", "a package is in none of the channels or indexes", False),
        (12, "index", "a channel or index does not answer (passes), or refuses (stays)", None),
        (13, "resolve-timeout", "solving took longer than `resolve_timeout`", True),
        (14, "resolver", "a resolver's program failed", False),
        (15, "build", "a wheel could not be built from source", False),
        (16, "environment", "an environment could not be made on disk, or what is at its place is not ours", False),
        (17, "fetch-refused", "a package cannot be fetched: no source has it (404), or one refuses it (403)", False),
        (
            18,
            "store-refused",
            "the store refuses: access denied, wrong credentials, a client that is too old",
            False,
        ),
        (19, "alias-taken", "an immutable name of an environment belongs to another one", False),
        (70, "defect", "a defect of asynccache; the message names a report to send in", False),
        (130, "interrupted", "interrupted (SIGINT); what is complete stays", True),
        (141, "output-closed", "whoever read the output stopped reading, as in `| head`", False),
        (143, "terminated", "terminated (SIGTERM); what is complete stays", True),
    )
}


class AsyncCacheError(Exception):
    """Base of the family.

    Args:
        message: What happened, one sentence; never contains a credential (tokens in keys are removed).
        expected: What should have been there, as the user would write it.
        found: What was there instead.
        hint: What to do next.
    """

    exit_code = 1

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without any change."""
        return bool(EXIT_CODES[self.exit_code].retryable)

    def __init__(self, message: str, *, expected: object = None, found: object = None, hint: str | None = None) -> None:
        self.message: str = without_tokens(message)
        super().__init__(self.message)
        self.expected: object = without_tokens(expected) if isinstance(expected, str) else expected
        self.found: object = without_tokens(found) if isinstance(found, str) else found
        self.hint: str | None = None if hint is None else without_tokens(hint)

    def __str__(self) -> str:
        text = self.message
        if self.expected is not None:
            text += f": expected {self.expected}"
            if self.found is not None:
                text += f", found {self.found}"
        elif self.found is not None:
            text += f": found {self.found}"
        return f"{text}; {self.hint}" if self.hint else text

    def as_document(self) -> dict[str, object]:
        """Return the error as plain values, for `--json` and receipts."""
        fields: dict[str, object] = {
            "error": type(self).__name__,
            "message": self.message,
            "expected": None if self.expected is None else str(self.expected),
            "found": None if self.found is None else str(self.found),
            "hint": self.hint,
        }
        known = {name: value for name, value in fields.items() if value is not None}
        row = EXIT_CODES[self.exit_code]
        return {**known, "cause": row.name, "exit_code": row.code, "retryable": self.retryable}


class UsageError(AsyncCacheError):
    """The request itself is malformed: an unreadable list, an unknown format, an impossible combination."""

    exit_code = 2


class ConfigurationError(AsyncCacheError):
    """A setting has an invalid value."""

    exit_code = 3


class FetchError(AsyncCacheError):
    """A package could not be obtained from any source within the retries."""

    exit_code = 4


class FetchRefusedError(FetchError):
    """No source provides the package, now or later: it does not exist, or access is refused."""

    exit_code = 17


class IntegrityError(AsyncCacheError):
    """Bytes do not match their digest or record."""

    exit_code = 5


class ArchiveError(AsyncCacheError):
    """An archive cannot be read as what it claims to be: truncated, damaged, trailing data, wrong format."""

    exit_code = 5


class HostileArchiveError(ArchiveError):
    """An archive tries to do what no package may do: leave its root, write through a link, or exhaust the machine."""


class TransmuteError(ArchiveError):
    """The derived archive does not hold exactly the members of its source."""


class StoreError(AsyncCacheError):
    """A store cannot be reached, or gives an invalid answer."""

    exit_code = 6


class StoreRefusedError(StoreError):
    """A store refuses, now and later: the credentials, the access, or something that it cannot do."""

    exit_code = 18


class AliasTakenError(StoreError):
    """An immutable alias refers to another environment."""

    exit_code = 19


class ObjectNotFoundError(StoreError):
    """Something that was asked for does not exist: an object, a name, a file."""

    exit_code = 9


class RunNotFoundError(ObjectNotFoundError):
    """There is no such run of a flow, or it has no such step."""


class StoreNotFoundError(StoreError):
    """There is no store at this address: no such directory or bucket."""

    exit_code = 9


class PreconditionFailedError(StoreError):
    """A conditional write lost: the object exists already, or is no longer the one that was read."""


class LockTimeoutError(AsyncCacheError):
    """Another process held a lock for longer than `lock_timeout`."""

    exit_code = 7


class DiskError(AsyncCacheError):
    """The local disk is full or cannot be written."""

    exit_code = 8


class ResolutionError(AsyncCacheError):
    """Requirements could not be turned into packages."""

    exit_code = 10


class UnsatisfiableError(ResolutionError):
    """No set of packages satisfies all requirements; the message contains the reasons."""


class PackageUnknownError(ResolutionError):
    """A requirement names a package that none of its channels or indexes has."""

    exit_code = 11


class IndexUnreachableError(ResolutionError):
    """A channel or an index does not answer."""

    exit_code = 12

    @property
    def retryable(self) -> bool:
        """An index that does not answer may do so later."""
        return True


class IndexRefusedError(IndexUnreachableError):
    """A channel or an index refuses, now and later: the login, or a request that it should support."""

    @property
    def retryable(self) -> bool:
        """A refusal is permanent."""
        return False


class ResolveTimeoutError(ResolutionError):
    """Solving took longer than `resolve_timeout`."""

    exit_code = 13


class ResolverFailedError(ResolutionError):
    """A resolver's executable crashed or gave an invalid answer; the message contains its last lines."""

    exit_code = 14


class ResolverMissingError(ConfigurationError):
    """The requested resolver is not on this machine, or none is configured."""


class BuildError(ResolutionError):
    """A wheel could not be built from source."""

    exit_code = 15


class HydrationError(AsyncCacheError):
    """An environment could not be created on disk, or what is at its path is not ours."""

    exit_code = 16


class DefectError(AsyncCacheError):
    """Something was raised that asynccache does not raise on purpose (see `asynccache.runtime.failures`).

    Args:
        message: That it is a defect, and where it occurred.
        report: File that holds the traceback, without credentials; None if none could be written.
        hint: What to do next.
    """

    exit_code = 70

    def __init__(self, message: str, *, report: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report

    def as_document(self) -> dict[str, object]:
        """Return the error as plain values, the report's path among them."""
        return {**super().as_document(), "report": self.report}


class PartialFailureError(AsyncCacheError):
    """Some packages of a run failed and the others are done.

    Args:
        message: How many of how many failed.
        errors: What failed, by the name or URL of the package.
    """

    def __init__(self, message: str, errors: dict[str, AsyncCacheError], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errors = errors
        codes = {error.exit_code for error in errors.values()}
        self.exit_code = codes.pop() if len(codes) == 1 else 1

    @property
    def retryable(self) -> bool:
        """Whether a retry may help with any of them."""
        return any(error.retryable for error in self.errors.values())

    def causes(self) -> list[tuple[AsyncCacheError, list[str]]]:
        """Return each distinct cause once, with the names of what failed for it, in order of first occurrence."""
        found: dict[str, tuple[AsyncCacheError, list[str]]] = {}
        for name, error in self.errors.items():
            found.setdefault(str(error), (error, []))[1].append(name)
        return list(found.values())

    def as_document(self) -> dict[str, object]:
        """Return the error as plain values, each distinct cause once, with how many failed for it and the first."""
        causes = [{**error.as_document(), "failed": len(names), "first": names[0]} for error, names in self.causes()]
        return {**super().as_document(), "causes": causes}


def raise_failures(message: str, errors: dict[str, AsyncCacheError], *, asked: int, hint: str | None = None) -> None:
    """Raise what failed; return when nothing did.

    Args:
        message: How many of how many failed.
        errors: What failed, by the name or URL of each.
        asked: How many were requested. The failure of an only one is raised as it is.
        hint: What to do next, if several were requested.

    Raises:
        AsyncCacheError: The failure, if one was requested.
        PartialFailureError: All failures.
    """
    if not errors:
        return
    if asked == 1:
        raise next(iter(errors.values()))
    raise PartialFailureError(message, errors, hint=hint)


def error_from_document(said: dict[str, object]) -> AsyncCacheError:
    """Return the error of a document made by `as_document`, of the same class if that needs no further arguments.

    Raises:
        KeyError: It is not such a document.
    """
    kinds = [AsyncCacheError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    same = (k for k in kinds if k.__name__ == said["error"] and k.__init__ is AsyncCacheError.__init__)
    hint = said.get("hint")
    error = next(same, AsyncCacheError)(
        str(said["message"]),
        expected=said.get("expected"),
        found=said.get("found"),
        hint=None if hint is None else str(hint),
    )
    code = said["exit_code"]
    if isinstance(code, int) and code in EXIT_CODES:
        error.exit_code = code
    return error
