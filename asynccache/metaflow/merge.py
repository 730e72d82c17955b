"""What decorators ask for, and how what several of them ask becomes one (contract, sections 7.2 to 7.5). Pure.

Standard library and Python 3.7 only; merging itself happens where flows are launched.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Callable, Iterable, Mapping, Sequence

PACKAGES = ("conda", "pypi", "npconda", "sys")
SOURCES = ("conda", "pypi")
_SCALARS = ("name", "pathspec", "python", "fetch_at_exec", "disabled")
Merge = Callable[[str, str], str]
"""Two constraints of one package to one."""


class AskError(Exception):
    """Decorators contradict themselves or each other; a sentence for the user."""


@dataclass(frozen=True)
class Ask:
    """What one decorator, one level, or a whole step asks for.

    Attributes:
        packages: Category -> name -> constraint.
        sources: Category -> channels or indexes, those that count first in front.
        extras: Flags for the resolver of PyPI packages, with their dashes.
        python: Constraint of Python.
        name: Environment that is used or extended.
        pathspec: Step whose environment is used or extended.
        fetch_at_exec: Look the name up when the task starts.
        disabled: Use the outer environment.
        files: Lock files that say what is installed.
        unique_keys: What else makes the environment its own.
    """

    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extras: Sequence[str] = ()
    python: str | None = None
    name: str | None = None
    pathspec: str | None = None
    fetch_at_exec: bool | None = None
    disabled: bool | None = None
    files: Sequence[str] = ()
    unique_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str | None:
        """The environment that is used or extended, as names are written."""
        return "step:" + self.pathspec if self.pathspec else self.name

    @property
    def additions(self) -> bool:
        """Whether anything is asked for besides a named environment."""
        return bool(
            any(self.packages.values())
            or any(self.sources.values())
            or self.extras
            or self.python is not None
            or self.files
        )


def checked(ask: Ask, decorator: str) -> Ask:
    """Return what one decorator asks, if it can mean something.

    Raises:
        AskError: It names an environment twice.
    """
    if ask.name is not None and ask.pathspec is not None:
        raise AskError(f"Cannot specify both `name` and `pathspec` in a decorator (@{decorator})")
    return ask


def merge_level(asks: Iterable[Ask], merge: Merge) -> Ask:
    """Merge what all decorators of one step, or all of the flow, ask for.

    Args:
        asks: In the order in which Metaflow keeps the decorators: the one next to the function first.
        merge: How two constraints for one name become one.

    Raises:
        AskError: Two of them cannot both be.
    """
    parts = list(asks)
    scalars = {name: _agreed(name, [getattr(part, name) for part in parts]) for name in _SCALARS}
    packages: dict[str, dict[str, str]] = {}
    for part in parts:
        for category, wanted in part.packages.items():
            known = packages.setdefault(category, {})
            for package, constraint in wanted.items():
                known[package] = merge(known.get(package, ""), constraint)
    unique: dict[str, str] = {}
    for part in parts:
        unique.update(part.unique_keys)
    return checked(
        Ask(
            packages=packages,
            # people read from the top, where the decorator that Metaflow keeps last stands
            sources={c: _union(part.sources.get(c, ()) for part in reversed(parts)) for c in SOURCES},
            extras=tuple(flag for part in parts for flag in part.extras),
            files=_union(part.files for part in parts),
            unique_keys=unique,
            **scalars,
        ),
        "conda",
    )


def step_over_flow(flow: Ask, step: Ask) -> Ask:
    """Lay what a step asks over what its flow asks."""
    scalars = {n: getattr(flow, n) if getattr(step, n) is None else getattr(step, n) for n in _SCALARS}
    if step.name is not None:
        scalars["pathspec"] = None
    elif step.pathspec is not None:
        scalars["name"] = None
    packages = {c: {**flow.packages.get(c, {}), **step.packages.get(c, {})} for c in PACKAGES}
    return Ask(
        packages={category: found for category, found in packages.items() if found},
        sources={c: _union([step.sources.get(c, ()), flow.sources.get(c, ())]) for c in SOURCES},
        extras=tuple(flow.extras) + tuple(step.extras),
        files=_union([step.files, flow.files]),
        unique_keys={**flow.unique_keys, **step.unique_keys},
        **scalars,
    )


def step_ask(step: str, flow_asks: Iterable[Ask], step_asks: Iterable[Ask], merge: Merge) -> Ask:
    """Return what a step asks for in all.

    Raises:
        AskError: Decorators contradict each other; names the step where it is the step's.
    """
    own = list(step_asks)
    try:
        ask = step_over_flow(merge_level(flow_asks, merge), merge_level(own, merge))
    except AskError as error:
        raise AskError(f"Step '{step}': {error}") from error
    if ask.disabled:
        return replace(Ask(), disabled=True)
    if ask.fetch_at_exec:
        if ask.base is None:
            raise AskError(
                f"Step '{step}' has `fetch_at_exec` set, which needs the `name` or `pathspec` of an environment"
            )
        if ask.additions:
            raise AskError(
                f"Step '{step}' has `fetch_at_exec` set, so that it cannot ask for packages, sources or python"
            )
    if len(ask.files) > 1:
        raise AskError("Step '{}' names several lock files: {}".format(step, ", ".join(ask.files)))
    return ask


def expand(name: str, variables: Mapping[str, str]) -> str:
    """Replace each `@{VAR}` of an environment's name.

    Raises:
        AskError: A variable is not there.

    >>> expand("team/@{WHAT}:v1", {"WHAT": "gpu"})
    'team/gpu:v1'
    """
    parts = name.split("@{")
    texts = [parts[0]]
    for part in parts[1:]:
        variable, closed, rest = part.partition("}")
        if not closed or variable not in variables:
            raise AskError(f"Could not find '{variable}' in the environment")
        texts.append(variables[variable] + rest)
    return "".join(texts)


def _agreed(name: str, values: list[Any]) -> Any:
    said = [value for value in values if value is not None]
    for value in said[1:]:
        if value != said[0]:
            raise AskError(f"{name} is specified with incompatible values: {said[0]} and {value}")
    return said[0] if said else None


def _union(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for part in parts for value in part))
