"""Every failure that asynccache raises on purpose.

One flat family by cause. A message is one sentence that says what was expected, what was found and what to do
next. Exceptions of libraries are mapped where they enter (`raise ... from exc`). `exit_code` is what the command
line returns; docs/errors.md lists the codes.
"""

from __future__ import annotations


class AsyncCacheError(Exception):
    """Base of the family.

    Args:
        message: What happened, one sentence; never contains a credential.
        expected: What should have been there, as the user would write it.
        found: What was there instead.
        hint: What to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, expected: object = None, found: object = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.found = found
        self.hint = hint

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
        fields = {
            "error": type(self).__name__,
            "message": self.message,
            "expected": None if self.expected is None else str(self.expected),
            "found": None if self.found is None else str(self.found),
            "hint": self.hint,
        }
        return {name: value for name, value in fields.items() if value is not None}


class UsageError(AsyncCacheError):
    """The request itself is malformed: an unreadable list, an unknown format, an impossible combination."""

    exit_code = 2


class ConfigurationError(AsyncCacheError):
    """A setting has a value that it cannot have."""

    exit_code = 3


class FetchError(AsyncCacheError):
    """A package could not be obtained from any source within the retries."""

    exit_code = 4


class IntegrityError(AsyncCacheError):
    """Bytes are not what their digest or their record says."""

    exit_code = 5


class ArchiveError(AsyncCacheError):
    """An archive cannot be read as what it claims to be: truncated, damaged, trailing data, wrong format."""

    exit_code = 5


class HostileArchiveError(ArchiveError):
    """An archive tries to do what no package may do: leave its root, write through a link, exhaust the machine."""


class TransmuteError(ArchiveError):
    """The derived archive does not hold exactly the members of its source."""


class StoreError(AsyncCacheError):
    """A store cannot be reached, refuses the credentials, or answers what it must not."""

    exit_code = 6


class ObjectNotFoundError(StoreError):
    """No object has this key."""

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
    """No set of packages meets all requirements; the message holds the reasons."""


class PackageUnknownError(ResolutionError):
    """A requirement names a package that none of its channels or indexes has."""

    exit_code = 11


class IndexUnreachableError(ResolutionError):
    """A channel or an index does not answer, or refuses."""

    exit_code = 12


class ResolveTimeoutError(ResolutionError):
    """Solving took longer than `resolve_timeout`."""

    exit_code = 13


class ResolverFailedError(ResolutionError):
    """A resolver's executable crashed or answered what it must not; the message holds its last lines."""

    exit_code = 14


class ResolverMissingError(ConfigurationError):
    """The resolver that was asked for is not on this machine, or none is configured."""


class BuildError(ResolutionError):
    """A wheel could not be built from source."""

    exit_code = 15


class HydrationError(AsyncCacheError):
    """An environment could not be made on disk, or what is at its place is not ours."""

    exit_code = 16


class PartialFailureError(AsyncCacheError):
    """Some packages of a run failed and the others are done.

    Args:
        message: How many of how many failed.
        errors: What failed, by the name or URL of the package.
    """

    def __init__(self, message: str, errors: dict[str, AsyncCacheError], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errors = errors
        self.exit_code = (
            next(iter(errors.values())).exit_code if len({e.exit_code for e in errors.values()}) == 1 else 1
        )
