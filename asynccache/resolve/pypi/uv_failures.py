"""Failures of uv in words for people, without credentials."""

from __future__ import annotations

import re
from typing import Final

from asynccache.errors import (
    AsyncCacheError,
    BuildError,
    IndexRefusedError,
    IndexUnreachableError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.url import redacted
from asynccache.resolve.explain import last_lines, scrubbed
from asynccache.resolve.program import Finished
from asynccache.resolve.pypi.index_refusal import refused, refusing, unknown
from asynccache.resolve.pypi.problem import ACROSS, Logins, PypiProblem
from asynccache.resolve.pypi.resolver import PypiTask

_UNKNOWN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*) was not found in the (?:package registry|provided package locations)"
)
_NO_VERSION: Final = re.compile(
    r"(?:there (?:is|are) no versions? of|only(?: the following versions of)?) (?P<name>[A-Za-z0-9][\w.-]*)"
)
_FETCH: Final = re.compile(
    r"(?:Failed to fetch|`--find-links` URL|Failed to download|error sending request for url)\W*"
    r"(?P<url>(?:https?|file)://[^\s`)]+)"
)
_STATUS: Final = re.compile(r"\((?P<code>[45]\d\d) (?P<reason>[^)]*)\)")
_BUILD: Final = re.compile(r"Failed to (?:build|prepare|generate package metadata for)[^`]*`(?P<what>[^`]*)`")
_NO_WHEEL: Final = re.compile(r"Wheels are required for `(?P<name>[^`]*)`|(?P<other>\S+) has no usable wheels")
_OFFLINE: Final = re.compile(r"network was disabled|Network connectivity is disabled|in the cache")
# uv's words -> words that a reader understands at once.
_WORDS: Final = (
    (re.compile(r"^error: (No solution found when resolving dependencies.*)?", re.MULTILINE), ""),
    (re.compile(r"^\s*cause: ", re.MULTILINE), ""),
    (re.compile(r", we can conclude that your requirements are unsatisfiable\."), ", they contradict each other."),
    (re.compile(r"we can conclude that "), "it follows that "),
    (re.compile(r"the (?:current|requested) Python version \((?:>=)?(?P<version>[\d.]+)\)"), r"Python \g<version>"),
    (re.compile(r"^(hint|warning): .*$", re.MULTILINE), ""),
)


def failure(finished: Finished, task: PypiTask, logins: Logins) -> AsyncCacheError:
    """Return the error for uv's failure.

    Args:
        finished: How it ended.
        task: What it was to solve.
        logins: Credentials that must not be shown, and to check whether an index refuses.
    """
    problem = task.pypi
    secrets = logins.secrets(problem.addresses)
    text = scrubbed(finished.stderr, secrets)
    if finished.returncode < 0 or "panicked at" in text:
        return finished.crashed("uv", secrets)
    if task.problem.offline and _OFFLINE.search(text):
        return IndexRefusedError(
            f"what was kept of the indexes does not do while offline: {in_words(text)}",
            hint="resolve once without --offline",
        )
    if problem.across and (missing := _NO_WHEEL.search(text)):
        return UsageError(ACROSS, found=missing["name"] or missing["other"])
    if build := _BUILD.search(text):
        return BuildError(
            f"{redacted(build['what'])} cannot be asked what it needs:\n{last_lines(text, secrets)}",
            hint="ask for a version that is published as a wheel, or correct its sources",
        )
    if fetch := _FETCH.search(text):
        return _unreachable(fetch["url"], text, problem)
    if "No solution found" in text:
        missing = _UNKNOWN.search(text)
        if missing is not None:
            return unknown(missing["name"], problem, logins, reasons=in_words(text))
        lacking = list(dict.fromkeys(match["name"] for match in _NO_VERSION.finditer(text)))
        if refusal := refusing(lacking, problem, logins, reasons=in_words(text)):
            return refusal
        return UnsatisfiableError(
            f"the requirements cannot be met for {problem.arch} with Python {task.target.version}:\n{in_words(text)}"
        )
    return finished.crashed("uv", secrets)


def in_words(text: str) -> str:
    """Return uv's reasons for people."""
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _unreachable(url: str, text: str, problem: PypiProblem) -> IndexUnreachableError:
    asked = next(
        (index for index in (*problem.indexes, *problem.flags.find_links) if url.startswith(index.rstrip("/"))), None
    )
    which = f"the index {redacted(asked)}" if asked else redacted(url)
    status = _STATUS.search(text)
    if status and status["code"] in {"401", "403"}:
        return refused(asked or url, status["code"])
    causes = [line.strip().removeprefix("cause: ") for line in text.splitlines() if line.strip().startswith("cause:")]
    why = f"HTTP {status['code']} {status['reason']}" if status else (causes[-1] if causes else in_words(text))
    return IndexUnreachableError(
        f"{which} cannot be read: {redacted(why)[:300]}",
        hint="try again, or use --offline to take what was kept of it",
    )
