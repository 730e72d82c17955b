"""All resolvers, in one table, from which settings, command line options and the choice among them are made.

Python 3.7, standard library.
"""

from __future__ import annotations

from typing import NamedTuple


class ResolverLine(NamedTuple):
    """One resolver.

    Attributes:
        kind: Kind of environments that it solves: `conda`, `pypi` or `mixed`.
        place: `MODULE:CLASS` below `asynccache.resolve`; imported when chosen, since each has libraries of its own.
        takes: What its constructor takes by name besides the settings: `program`, its own name; `environ`, variables by
            which programs are found; `prefix`, which creates prefixes; `conda`, which solves the conda part.
    """

    kind: str
    place: str
    takes: tuple[str, ...] = ()


_PROGRAM = ResolverLine("conda", "conda.executable:CondaExecutableResolver", ("program", "environ"))
RESOLVERS = {
    "mamba": _PROGRAM,
    "conda": _PROGRAM,
    "micromamba": _PROGRAM,
    "rattler": ResolverLine("conda", "conda.rattler_solver:RattlerResolver"),
    "uv": ResolverLine("pypi", "pypi.uv_resolver:UvResolver", ("prefix", "conda")),
    "pip": ResolverLine("pypi", "pypi.pip_resolver:PipResolver", ("prefix", "conda")),
    "conda-lock": ResolverLine("mixed", "conda.lock_tool:CondaLockResolver", ("environ",)),
    "builtin": ResolverLine("mixed", "mixed:BuiltinMixedResolver", ("prefix", "conda")),
}
"""Name in settings -> resolver: a new one is its module and its line here."""


def names_of(kind: str) -> tuple[str, ...]:
    """Return the names of the resolvers for a kind of environments.

    >>> names_of("pypi")
    ('uv', 'pip')
    """
    return tuple(name for name, line in RESOLVERS.items() if line.kind == kind)
