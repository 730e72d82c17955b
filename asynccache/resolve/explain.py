"""Failures of solvers in words for people, without credentials."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from asynccache.errors import (
    IndexRefusedError,
    IndexUnreachableError,
    PackageUnknownError,
    ResolveTimeoutError,
    UnsatisfiableError,
)
from asynccache.model.url import redacted, secrets_in
from asynccache.resolve.requests.virtual_packages import VirtualPackage

_MOST_LINES: Final = 40
_MOST_VERSIONS: Final = 6
_NEAR: Final = 3
_SECRET_FIELD: Final = re.compile(
    r"(?P<name>authorization\s*[:=]\s*(?:basic|bearer)?|(?:password|passwd|token|api[_-]?key)\s*[:=])\s*['\"]?[^\s'\",;]+",
    re.IGNORECASE,
)
_MASKED_USER: Final = re.compile(r"://[^/\s'\"]*:\*+@")
_HTTP_STATUS: Final = re.compile(r"\((?P<code>[45]\d\d)\s*(?P<reason>[^)]*)\)|\bHTTP (?P<number>[45]\d\d)\b")
_ADDRESS: Final = re.compile(r"(?:https?|file)://[^\s'\")]+")
_NO_CACHE: Final = re.compile(r"no usable repodata cache for (?P<url>\S+)")
_FRAMES: Final = re.compile(
    r"^(?:Traceback \(most recent call last\):\n(?:[ \t].*(?:\n|\Z))*|(?:During handling|The above exception)[^\n]*\n)",
    re.MULTILINE,
)
# The solver's words -> words that a reader understands at once.
_WORDS: Final = (
    (re.compile(r"^Cannot solve the request because of: "), ""),
    (re.compile(r" cannot be installed because there are no viable options:"), " cannot be installed:"),
    (re.compile(r"No candidates were found for (?P<spec>__.+?)\.?$"), r"the machine does not have \g<spec>"),
    (
        re.compile(r"(?P<spec>__[^,]+), for which no candidates were found\.?"),
        r"\g<spec>, which the machine does not have",
    ),
    (re.compile(r"No candidates were found for (?P<spec>.+?)\.?$"), r"no channel has \g<spec>"),
    # not "no channel has": the other requirements may have ruled the candidates out
    (re.compile(r", for which no candidates were found\.?"), ", which no remaining candidate satisfies"),
    (re.compile(r" can be installed with any of the following options:"), " could be one of:"),
    (
        re.compile(r", which conflicts with any installable versions previously reported"),
        ", which contradicts what is said above",
    ),
    (re.compile(r"is locked, but another version is required as reported above"), "is locked and must be kept"),
    (re.compile(r"is excluded because "), "does not count: "),
    (re.compile(r"the package has no timestamp"), "nothing says when it was published"),
    (re.compile(r"the package is uploaded after the cutoff date of "), "it was published after "),
    (re.compile(r"candidate not in requested channel: '(?P<channel>[^']*)'"), r"it is not in \g<channel>"),
    (re.compile(r" \[channel=\"(?P<channel>[^\"]*)\"\]"), r" (from \g<channel>)"),
    (re.compile(r"(?<=[\w-]) (?:=\* )?\*(?= |,|$)"), ""),
    (re.compile(r"^The following packages are incompatible$"), "these requirements contradict each other:"),
)


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a program's text without credentials.

    Args:
        text: Any text.
        secrets: Words that must not appear in it, wherever they occur.

    >>> scrubbed("GET https://me:pw@host/x?sig=1 password=abc failed for pw", ["pw"])
    'GET https://host/x password=*** failed for ***'
    """
    text = _SECRET_FIELD.sub(r"\g<name>***", redacted(_MASKED_USER.sub("://", text)))
    for secret in sorted((secret for secret in secrets if secret), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def secrets_of(auth: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the passwords, tokens and signatures of a setting `auth`."""
    found = []
    for login in auth.values():
        found += [login[1]] if len(login) == 2 else [secret for text in login for secret in secrets_in(text)]
    return [secret for secret in found if secret]


def without_frames(text: str) -> str:
    r"""Return a Python program's output without the frames of its tracebacks; messages and exceptions are kept.

    >>> without_frames("no six\nTraceback (most recent call last):\n  File 'x', line 1\n    f()\nKeyError: 'six'")
    "no six\nKeyError: 'six'"
    """
    return _FRAMES.sub("", text)


def last_lines(text: str, secrets: Iterable[str] = (), count: int = 12) -> str:
    """Return the end of a program's output, without empty lines and credentials."""
    lines = [line.rstrip() for line in scrubbed(text, secrets).splitlines() if line.strip()]
    return "\n".join(line[:400] for line in lines[-count:])


def in_words(text: str) -> str:
    """Return a solver's tree of reasons for people.

    >>> in_words("Cannot solve the request because of: No candidates were found for numpyy *.")
    'no channel has numpyy'
    """
    lines = []
    for line in scrubbed(text).splitlines():
        if not line.strip():
            continue
        found = line.rstrip()
        for pattern, words in _WORDS:
            found = pattern.sub(words, found)
        lines.append(found)
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"... and {len(lines) - _MOST_LINES} more lines of this kind"]
    return "\n".join(lines)


def unsatisfiable(
    text: str,
    *,
    arch: str,
    virtual_packages: Iterable[VirtualPackage] = (),
    published: Mapping[str, Sequence[str]] | None = None,
    exact: Mapping[str, str] | None = None,
    requested: Mapping[str, str] | None = None,
) -> UnsatisfiableError:
    """Return the error for requirements that no set of packages satisfies.

    Args:
        text: The solver's reasons.
        arch: conda platform.
        virtual_packages: Virtual packages that were assumed; shown if the reasons mention them.
        published: Package -> its versions, newest first, for packages without a suitable version.
        exact: Package -> the one version that was requested.
        requested: Package -> its requirement, shown if the reasons mention the package and not the request: solvers
            name only one side of a contradiction.
    """
    reasons = in_words(text)
    for name, spec in (requested or {}).items():
        if spec not in reasons and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", reasons):
            reasons += f"\n{spec} is requested"
    for name, versions in (published or {}).items():
        reasons += f"\n{name} is published as {some_of(versions)}"
        asked = (exact or {}).get(name)
        if asked and any(version.startswith(f"{asked}.") for version in versions):
            reasons += f"; {name}={asked} is exactly that version, {name}={asked}.* every one that begins so"
    hint = None
    if "__" in reasons:
        has = ", ".join(f"{package.name} {package.version}" for package in virtual_packages)
        hint = (
            f"{arch} is taken to have {has}: whatever else it has is declared by a sys requirement or the setting"
            " sys_default_packages"
        )
    return UnsatisfiableError(f"the requirements cannot be met for {arch}:\n{reasons}", hint=hint)


def some_of(versions: Sequence[str]) -> str:
    """Return the first versions of many.

    >>> some_of(["7", "6", "5", "4", "3", "2", "1"])
    '7, 6, 5, 4, 3, 2, ...'
    """
    return ", ".join(versions[:_MOST_VERSIONS]) + (", ..." if len(versions) > _MOST_VERSIONS else "")


def unknown_packages(
    missing: Sequence[str], known: Collection[str], channels: Sequence[str], arch: str
) -> PackageUnknownError:
    """Return the error for names that no channel has.

    Args:
        missing: The names.
        known: All names in the channels; empty if they cannot be listed.
        channels: Where they were searched.
        arch: conda platform.
    """
    parts = []
    for name in missing:
        near = get_close_matches(name.lower(), known, n=_NEAR, cutoff=0.7)
        parts.append(f"{name!r} (near: {', '.join(near)})" if near else repr(name))
    what = "a package that no channel has" if len(missing) == 1 else "packages that no channel has"
    return PackageUnknownError(
        f"the requirements name {what} for {arch}: {', '.join(parts)}; searched {', '.join(map(redacted, channels))}",
        hint="correct the name, or add the channel that has it",
    )


def unreachable(text: str, channels: Sequence[str], odd: Sequence[str] = ()) -> IndexUnreachableError:
    """Return the error for a channel that does not answer, refuses, or answers with something other than an index.

    Args:
        text: Output of the library or program.
        channels: The channels that were asked.
        odd: Unreadable records.
    """
    reason = scrubbed(text)
    if cold := _NO_CACHE.search(reason):
        return IndexRefusedError(
            f"nothing was kept of the channel {cold['url']}, which must do while offline",
            hint="resolve once without --offline",
        )
    address = _ADDRESS.search(reason)
    host = address.group().split("/")[2] if address else ""
    asked = [channel for channel in channels if address and address.group().startswith(channel)]
    asked = asked or [channel for channel in channels if host and host in channel] or list(channels)
    which = f"the channel {redacted(asked[0])}" if len(asked) == 1 else f"one of {', '.join(map(redacted, asked))}"
    status = _HTTP_STATUS.search(reason)
    code = (status["code"] or status["number"]) if status else ""
    if code in {"401", "403"}:
        why, hint = f"refuses ({code})", "give user and password of its host in the setting auth or in .netrc"
    elif code == "404":
        why, hint = "does not exist (404)", "correct its name or address"
    elif odd:
        more = f" and {len(odd) - _NEAR} more" if len(odd) > _NEAR else ""
        why = f"has records that cannot be read: {', '.join(odd[:_NEAR])}{more}"
        hint = "ask for other versions or packages, or let the channel's owner mend the records"
    else:
        why, hint = f"cannot be read: {_last_cause(reason)}", "try again, or use --offline to take what was kept of it"
    return (IndexRefusedError if code in {"401", "403", "404"} else IndexUnreachableError)(f"{which} {why}", hint=hint)


def _last_cause(text: str) -> str:
    lines = [line.strip().removeprefix("Caused by: ") for line in text.splitlines() if line.strip()]
    first, last = (lines[0], lines[-1]) if lines else ("no reason given", "no reason given")
    return first[:300] if first == last else f"{first[:300]} ({last[:300]})"


def timed_out(seconds: float, what: str) -> ResolveTimeoutError:
    """Return the error for an exceeded time limit.

    Args:
        seconds: The limit.
        what: What took so long: `solving for linux-64`.
    """
    return ResolveTimeoutError(
        f"{what} took longer than {seconds:g} s",
        hint="narrow the requirements (a version of Python helps most), or raise resolve_timeout",
    )
