"""The formats of files that say what an environment needs: locks, which name archives, and requirements.

A new format is a module in this room and a line in `FORMATS`. A reader of locks takes (text, place, selection) and
returns archives and source trees; a reader of requirements takes (text, place) and returns requirements. Readers are
imported when a file of the format is read, since each imports a parser.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from asynccache.model.dataclass import dataclass

if TYPE_CHECKING:
    from asynccache.engine.verified import Verified
    from asynccache.model.package import Package
    from asynccache.resolve.formats.selection import Selection
    from asynccache.resolve.formats.source_trees import SourceTree
    from asynccache.resolve.requests.requirements import Requirements
    from asynccache.resolve.requests.source_position import SourcePosition


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format.

    Attributes:
        name: Its name in help texts and errors.
        reader: `MODULE.FUNCTION` of this room; empty for a format that is recognised but not read.
        lock: Whether it names archives; otherwise it contains requirements.
        remembers: For requirements: its reader accepts a memory, since parsing takes long.
        named: Pattern of a whole file name that is always of this format.
        holds: Returns whether a text can only be of this format.
        likely: Returns whether a file name and text are probably of this format, if nothing is certain.
        python: For a lock file: it includes Python; otherwise it has PyPI packages only.
        divided: For a lock file: it says for which platforms every package was locked.
        environments: For a lock file: it has several named environments.
        unique_key: Key under which its digest is part of an environment's identity (contract, section 1.4).
        instead: How to convert a file that is not read into one that is.
    """

    name: str
    reader: str = ""
    lock: bool = False
    remembers: bool = False
    named: str = ""
    holds: Callable[[str], bool] | None = None
    likely: Callable[[str, str], bool] | None = None
    python: bool = True
    divided: bool = True
    environments: bool = False
    unique_key: str = ""
    instead: str = ""

    def read_lock(
        self, text: str, place: SourcePosition, selection: Selection
    ) -> tuple[list[Package], list[SourceTree]]:
        """Read a lock file of this format: its archives, and sources without one.

        Raises:
            UsageError: It is malformed, or was not locked for the selection; the message names file, entry or line, and
                reason.
        """
        found: tuple[list[Package], list[SourceTree]] = self._reader()(text, place, selection)
        return found

    def read_requirements(self, text: str, place: SourcePosition, memory: Verified | None = None) -> Requirements:
        """Read requirements of this format. Blocking where there is a memory.

        Args:
            text: The file's text.
            place: The file.
            memory: What this user read before.

        Raises:
            UsageError: It is malformed, or asks for something unsupported or missing; the message names file, line and
                reason.
        """
        memories = (memory,) if self.remembers else ()
        found: Requirements = self._reader()(text, place, *memories)
        for requirement in found.deps.get("pypi", ()):
            requirement.check_exists()
        return found

    def _reader(self) -> Callable[..., Any]:
        module, _, function = self.reader.partition(".")
        reader: Callable[..., Any] = getattr(importlib.import_module(f"{__package__}.{module}"), function)
        return reader


def _lines(*patterns: str) -> Callable[[str], bool]:
    # all must be found: one pattern that spans lines would take quadratic time on a hostile text
    return lambda text: all(re.search(pattern, text, re.MULTILINE) for pattern in patterns)


def _suffix(*suffixes: str) -> Callable[[str, str], bool]:
    return lambda filename, _text: filename.lower().endswith(suffixes)


def _addresses(text: str, *, digests: bool = False) -> bool:
    from asynccache.resolve.formats.line_lists import is_list_of_addresses  # noqa: PLC0415 - imports packages and URLs

    return is_list_of_addresses(text, digests=digests)


def _requirements(text: str) -> bool:
    return _requirement_lines(text) and not _addresses(text, digests=True)


_requirement_lines: Final = _lines(r"^[A-Za-z0-9][\w.-]*(\[[^\]\n]*\])?\s*([=<>~!@;]|$)")
_blank: Final = _lines(r"\A(?>(?:\s|#.*)*)\Z")

DOCUMENT: Final = "exported document"
# Content is checked in this order: poetry's lock file has all that uv's has, and a manifest has lines that look like
# requirements.
FORMATS: Final = (
    FileFormat("@EXPLICIT", "line_lists.read_explicit", lock=True, holds=_lines(r"^@EXPLICIT\b"), divided=False),
    FileFormat(
        "poetry.lock or pdm.lock",
        lock=True,
        named=r"(poetry|pdm)\.lock",
        holds=_lines(r"^\[\[package\]\]", r"^(content-hash|content_hash)\s*="),
        instead="write a pylock.toml with `poetry export --format pylock.toml` or `pdm export --format pylock`",
    ),
    FileFormat(
        "uv.lock",
        "uv_lock.read_uv_lock",
        lock=True,
        named=r"uv\.lock",
        holds=_lines(r"^version\s*=\s*\d+\s*$", r"^\[\[package\]\]"),
        python=False,
        unique_key="uv_lock_content_hash",
    ),
    FileFormat(
        "pylock.toml",
        "pylock.read_pylock",
        lock=True,
        named=r"pylock\.([^.]+\.)?toml",
        holds=_lines(r"^lock-version\s*="),
        python=False,
    ),
    FileFormat(
        "pixi.lock",
        "pixi_lock.read_pixi_lock",
        lock=True,
        named=r"(.*[._-])?pixi\.lock",
        holds=_lines("^environments:", "^packages:"),
        environments=True,
    ),
    FileFormat(
        "conda-lock.yml",
        "conda_lock.read_conda_lock",
        lock=True,
        named=r"(.*[._-])?conda-lock\.ya?ml",
        holds=_lines("^version:", "^package:"),
    ),
    FileFormat(
        DOCUMENT,
        "document.read_document_packages",
        lock=True,
        holds=_lines(r"\A\s*\{", r'"packages"\s*:', r'"resolved_archs"\s*:'),
    ),
    FileFormat("pixi.toml", named=r"pixi\.toml", instead="lock it with `pixi lock`, and give its pixi.lock"),
    FileFormat(
        "environment.yml",
        "environment_yml.read_environment_yml",
        remembers=True,
        holds=_lines("^dependencies:"),
        likely=_suffix(".yml", ".yaml"),
    ),
    FileFormat(
        "pyproject.toml",
        "pyproject_toml.read_pyproject_toml",
        named=r"pyproject\.toml",
        holds=_lines(r"^\[(project|tool\.|build-system|dependency-groups)"),
        likely=_suffix(".toml"),
    ),
    FileFormat(
        "requirements.txt",
        "requirements_txt.read_requirements_txt",
        holds=_requirements,
        likely=lambda filename, text: bool(re.fullmatch(r".*requirements.*\.(txt|in)", filename)) or _blank(text),
    ),
    FileFormat(
        "list of URLs",
        "line_lists.read_url_list",
        lock=True,
        holds=lambda text: _addresses(text, digests=True),
        likely=lambda _filename, text: _blank(text) or _addresses(text),
        divided=False,
    ),
)


def format_named(name: str) -> FileFormat:
    """Return the format of that name.

    >>> format_named("uv.lock").lock, format_named("environment.yml").lock
    (True, False)
    """
    return next(fmt for fmt in FORMATS if fmt.name == name)


def read_requirements(path: str, name: str) -> Requirements:
    """Read a file of requirements whose format is known. Blocking.

    Args:
        path: Its path.
        name: Name of the format, such as `requirements.txt`.

    Raises:
        UsageError: It cannot be read, is malformed or asks for something unsupported; the message names file, line and
            reason.
    """
    from asynccache.resolve.formats.text import read_text  # noqa: PLC0415 - not needed to recognise formats
    from asynccache.resolve.requests.source_position import SourcePosition  # noqa: PLC0415

    return format_named(name).read_requirements(read_text(path), SourcePosition(path))


def format_names(*, lock: bool) -> str:
    """Return the names of the formats of lock files, or of requirements, for help texts.

    >>> format_names(lock=False)
    'environment.yml, pyproject.toml or requirements.txt'
    """
    *names, last = [fmt.name for fmt in FORMATS if fmt.reader and fmt.lock == lock]
    return f"{', '.join(names)} or {last}"


def recognise(name: str, text: str, *, locks: bool = False) -> FileFormat | None:
    r"""Recognise the format of a file by its name, else by its content, else by what its name suggests.

    Args:
        name: Its path, `-` for standard input.
        text: Its content.
        locks: Whether it can only be a lock: `a @ https://...` is a requirement, and can be an archive in a list.

    Returns:
        None if it has none of them.

    >>> recognise("ci/pylock.dev.toml", "").name, recognise("env.txt", "@EXPLICIT\nhttps://...").name
    ('pylock.toml', '@EXPLICIT')
    >>> recognise("gpu.yaml", "dependencies: [numpy]").name, recognise("-", "numpy>=1").name
    ('environment.yml', 'requirements.txt')
    """
    filename = PurePath(name).name
    formats = [fmt for fmt in FORMATS if fmt.lock or not locks]
    tests: tuple[Callable[[FileFormat], bool], ...] = (
        lambda fmt: bool(fmt.named and re.fullmatch(fmt.named, filename)),
        lambda fmt: fmt.holds is not None and fmt.holds(text),
        lambda fmt: fmt.likely is not None and fmt.likely(filename, text),
    )
    return next((fmt for test in tests for fmt in formats if test(fmt)), None)
