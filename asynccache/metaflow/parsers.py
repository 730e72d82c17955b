"""Parsers of requirement files, for Metaflow's `Config(parser=...)` and for other extensions.

A flow's file imports them also in the Python of a step, where they are not called: the readers come with the call.
"""

from __future__ import annotations

from typing import Any


def req_parser(text: str) -> dict[str, Any]:
    """Return what a requirements.txt says, as arguments of `@pypi`."""
    from asynccache.api import flows  # noqa: PLC0415

    return flows.req_parser(text)


def yml_parser(text: str) -> dict[str, Any]:
    """Return what an environment.yml says, as arguments of `@conda`."""
    from asynccache.api import flows  # noqa: PLC0415

    return flows.yml_parser(text)


def toml_parser(text: str) -> dict[str, Any]:
    """Return what a pyproject.toml says, as arguments of `@pypi`."""
    from asynccache.api import flows  # noqa: PLC0415

    return flows.toml_parser(text)
