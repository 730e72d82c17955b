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


def parse_req_value(text: str, *maps: Any) -> str | None:
    """Add what a requirements.txt asks for to maps: extras, sources, PyPI packages, conda packages, virtual ones.

    Returns:
        The constraint of Python, None if it has none.
    """
    from asynccache.api import flows  # noqa: PLC0415

    return flows.parse_req_value(text, *maps)


def parse_yml_value(text: str, *maps: Any) -> str | None:
    """Add what an environment.yml asks for to maps: extras, sources, conda packages, PyPI packages, virtual ones.

    Returns:
        The constraint of Python, None if it has none.
    """
    from asynccache.api import flows  # noqa: PLC0415

    return flows.parse_yml_value(text, *maps)


def parse_toml_value(text: str, *maps: Any) -> str | None:
    """Add what a pyproject.toml asks for to maps: extras, sources, PyPI packages.

    Returns:
        The constraint of Python, None if it has none.
    """
    from asynccache.api import flows  # noqa: PLC0415

    return flows.parse_toml_value(text, *maps)
