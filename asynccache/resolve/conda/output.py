"""Reading the output of conda's programs: packages in either format of answer, and failures as our errors."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from asynccache.errors import (
    IndexUnreachableError,
    PackageUnknownError,
    ResolutionError,
    ResolverFailedError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.environment import EnvironmentPackage
from asynccache.node.json_text import read_json, read_json_at
from asynccache.resolve.conda.find_programs import instead_of
from asynccache.resolve.conda.problem import conda_package
from asynccache.resolve.explain import in_words, last_lines, scrubbed, some_of, without_frames
from asynccache.resolve.program import Finished

_MOST_STARTS: Final = 200
_ANSWER_KEYS: Final = {"success", "actions", "exception_name", "error", "solver_problems"}
# exception_name, in lower case -> what it means.
_UNSATISFIABLE: Final = (
    "unsatisfiableerror",
    "specsconfigurationconflicterror",
)  # each solver's answer begins differently
_UNKNOWN: Final = {"packagesnotfounderror", "resolvepackagenotfound", "packagesnotfoundinchannelserror"}
_UNREACHABLE: Final = {
    "condahttperror",
    "connectionerror",
    "proxyerror",
    "condasslerror",
    "unavailableinvalidchannel",
    "channelnotfounderror",
    "offlineerror",
    "httperror",
}
_MALFORMED: Final = {"invalidmatchspec", "invalidversionspec", "invalidspec", "channelerror"}
_NOT_FOUND_TEXT: Final = re.compile(
    r"nothing provides requested (?P<asked>[^\n]+)"
    r"|(?P<absent>\w[^\n]*?) does not exist \(perhaps a (?:typo|missing channel)"
    r"|(?i:packagesnotfound|no matching package|not found[^\[\n]*package)"
)
_TREE: Final = re.compile(r"Could not solve for environment specs\n(?P<tree>.+?)(?=\ncritical|\Z)", re.DOTALL)
_ADVICE: Final = re.compile(r"\s+To search for alternate channels.*", re.DOTALL)
_ANY_VERSION: Final = re.compile(r"\s=?\*(\s\*)?$")
_CONFLICT_TEXT: Final = re.compile(
    r"could not solve|incompatible|nothing provides|is excluded|unsatisfiable|conflict", re.IGNORECASE
)
_NETWORK_TEXT: Final = re.compile(
    r"download error|could not resolve host|connection refused|could not connect|failed to connect"
    r"|timed? ?out was reached"
    r"|http (?:error|response)?\s*[45]\d\d|multi-download failed|http error"
    r"|max retries exceeded|failed to resolve|condahttperror",
    re.IGNORECASE,
)


def find_document(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a program answers with, None if there is none.

    Programs print progress objects, banners and warnings around it; the last object that is an answer counts.
    """
    try:
        document = read_json(text)
    except ValueError:
        pass
    else:
        return document if isinstance(document, dict) else None
    answer, position = None, 0
    for _ in range(_MOST_STARTS):
        position = text.find("{", position)
        if position < 0:
            break
        try:
            found, position = read_json_at(text, position)
        except ValueError:
            position += 1
            continue
        if isinstance(found, dict) and found.keys() & _ANSWER_KEYS:
            answer = found
    return answer


def read_packages(document: dict[str, Any], name: str) -> list[tuple[EnvironmentPackage, int | None]]:
    """Return packages in link order, each with its size in bytes if the program reports it.

    Args:
        document: Answer of a dry run that succeeded.
        name: Name of the program.

    Raises:
        ResolverFailedError: It lacks parts of such an answer.
    """
    actions = document.get("actions") or {}
    # conda 4 printed one object per prefix
    if isinstance(actions, list):
        actions = actions[0] if actions else {}
    try:
        links = actions.get("LINK", [])
        if all("url" in link for link in links):
            return [_package(link) for link in links]
        fetched = {_fetch_key(fetch): fetch for fetch in actions.get("FETCH", [])}
        result = []
        for link in links:
            fetch = fetched[link["name"], link["platform"], link["build_string"], link["build_number"]]
            if not fetch["url"].startswith(link["base_url"]):
                raise ResolverFailedError(
                    f"{name} fetches {link['name']} from another channel than it links it from",
                    expected=scrubbed(link["base_url"]),
                    found=scrubbed(fetch["url"]),
                )
            result.append(_package(fetch))
    except (KeyError, TypeError, AttributeError) as exc:
        raise ResolverFailedError(
            f"{name} answered with actions that cannot be read ({type(exc).__name__}: {exc})",
            hint="a version of it that asynccache does not know; `rattler` is built in",
        ) from exc
    return result


def _fetch_key(fetch: dict[str, Any]) -> tuple[Any, ...]:
    return fetch["name"], fetch["subdir"], fetch["build"], fetch["build_number"]


def _package(entry: dict[str, Any]) -> tuple[EnvironmentPackage, int | None]:
    size = entry.get("size")
    package = conda_package(entry["url"], md5=entry.get("md5"), sha256=entry.get("sha256"))
    return package, size if isinstance(size, int) and size > 0 else None


def read_tree(finished: Finished) -> str:
    """Return the reasons that mamba and micromamba print outside JSON; empty if there are none."""
    found = _TREE.search(finished.stdout) or _TREE.search(finished.stderr)
    return textwrap.dedent(found["tree"]).strip() if found else ""


def missing_versions(document: dict[str, Any] | None, text: str = "") -> list[str]:
    """Return the packages that a program reports as missing in the requested version.

    Args:
        document: Its answer.
        text: Its other output.
    """
    packages = (document or {}).get("packages")
    specs = [spec for spec in packages if isinstance(spec, str)] if isinstance(packages, list) else []
    specs += [match["asked"] or match["absent"] or "" for match in _NOT_FOUND_TEXT.finditer(text)]
    return list(dict.fromkeys(_name(spec) for spec in specs if spec and _versioned(spec)))


def failure(
    finished: Finished,
    document: dict[str, Any] | None,
    name: str,
    secrets: Sequence[str],
    *,
    tree: str = "",
    published: Mapping[str, Sequence[str]] | None = None,
) -> Exception:
    """Return the error for a program's failure.

    Args:
        finished: What it printed.
        document: The JSON object in that, None without one.
        name: Name of the program.
        secrets: Words that must not be repeated.
        tree: Its reasons, if requested.
        published: Package -> available versions, for those of `missing_versions`; unknown ones are left out.
    """
    finished = replace(
        finished, stdout=without_frames(finished.stdout).strip(), stderr=without_frames(finished.stderr).strip()
    )
    printed = finished.stderr if document else f"{finished.stdout}\n{finished.stderr}"
    document = document or {}
    kind = str(document.get("exception_name") or "").lower()
    problems = document.get("solver_problems") or []
    said = str(document.get("message") or document.get("error") or document.get("exception_type") or "")
    reasons = tree or ("\n".join(map(str, problems)) if isinstance(problems, list) else str(problems))
    message = "\n".join(part for part in (_ADVICE.sub("", said), reasons) if part)
    text = f"{message}\n{printed}"
    hint: str | None = None
    if (kind in _UNKNOWN or not kind) and (_lacks_package(document, text, published or {})):
        cls: type[ResolutionError | UsageError] = PackageUnknownError
        hint = "correct the name, or add the channel that has it"
    elif kind in _UNKNOWN or kind.endswith(_UNSATISFIABLE) or (not kind and (reasons or _CONFLICT_TEXT.search(text))):
        cls = UnsatisfiableError
    elif kind in _UNREACHABLE or (not kind and _NETWORK_TEXT.search(text)):
        cls = IndexUnreachableError
        hint = f"check the addresses of channels, or {instead_of(name)}: with --offline it takes what was kept"
    elif kind in _MALFORMED:
        cls = UsageError
    else:
        hint = f"run it by hand, or {instead_of(name)}"
        what = f"Could not resolve environment: {name}"
        return finished.crashed(what, secrets, said=document.get("exception_name"), hint=hint)
    shown = in_words(scrubbed(message, secrets)) if message else last_lines(printed, secrets, count=40)
    for package, versions in (published or {}).items():
        shown += f"\n{package} is published as {some_of(versions)}" if versions else ""
    return cls(f"{name} could not resolve the environment:\n{shown}", hint=hint)


def _lacks_package(document: dict[str, Any], text: str, published: Mapping[str, Sequence[str]]) -> bool:
    """Whether no channel has a package, in any version."""
    if any(not versions for versions in published.values()):
        return True
    packages = document.get("packages")
    if isinstance(packages, list) and packages:
        return any(not _versioned(str(spec)) for spec in packages)
    if missing := _NOT_FOUND_TEXT.search(text):
        return not _versioned(missing["asked"] or missing["absent"] or "")
    return str(document.get("exception_name") or "").lower() in _UNKNOWN


def _versioned(spec: str) -> bool:
    # with a version, the package exists and the version may be what is missing
    return bool(re.search(r"[=<>!~\s\[]", _ANY_VERSION.sub("", spec.strip())))


def _name(spec: str) -> str:
    return re.split(r"[=<>!~\s\[]", spec.strip().rpartition("::")[2])[0]
