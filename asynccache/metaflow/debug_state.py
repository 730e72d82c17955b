"""What `self` is in a notebook that debugs a task: the task's artifacts, read when they are asked for.

`metaflow debug` copies this file beside the notebook, where the kernel's Python (3.7 or later) imports it: standard
library and Metaflow only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_OWN = frozenset(("next", "merge_artifacts", "input", "index", "foreach_stack"))


class TaskState:
    """Replaces a flow's `self`.

    Args:
        sources: Metaflow `Task` objects whose artifacts are visible, the first that has one winning.
        frames: Where the task is in its loops, the outermost first: (name of the list, index, count).
        step: Name of the step.
        steps: Names of the flow's steps, which code mentions in `self.next(self.NAME)`.
    """

    def __init__(
        self,
        sources: Iterable[Any],
        frames: Iterable[tuple[str, int, int]] = (),
        step: str = "",
        steps: Iterable[str] = (),
    ) -> None:
        self.__dict__.update(_sources=list(sources), _frames=list(frames), _step=step, _steps=frozenset(steps))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for task in self._sources:
            if name in task:
                value = task[name].data
                setattr(self, name, value)
                return value
        if name in self._steps:
            return name
        raise AttributeError(f"the step {self._step!r} has no artifact {name!r} at this point")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __dir__(self) -> list[str]:
        names = set(_OWN) | {name for name in self.__dict__ if not name.startswith("_")}
        for task in self._sources:
            names.update(artifact.id for artifact in task)
        return sorted(names)

    def __repr__(self) -> str:
        return f"<state of step {self._step}: {', '.join(name for name in dir(self) if name not in _OWN)}>"

    @property
    def index(self) -> int | None:
        """Index in the innermost loop, None outside of loops."""
        return self._frames[-1][1] if self._frames else None

    @property
    def input(self) -> Any:
        """Value of the innermost loop, None outside of loops."""
        return self._value(self._frames[-1]) if self._frames else None

    def foreach_stack(self) -> list[tuple[int, int, Any]]:
        """Return (index, count, value) for each loop, the outermost first."""
        return [(frame[1], frame[2], self._value(frame)) for frame in self._frames]

    def next(self, *_steps: object, **_arguments: object) -> None:
        """Do nothing: no task is scheduled from here."""

    def merge_artifacts(
        self, inputs: Iterable[TaskState], exclude: Sequence[str] = (), include: Sequence[str] = ()
    ) -> None:
        """Take over the artifacts that all inputs agree on, as Metaflow's method of this name does.

        Raises:
            ValueError: Inputs disagree on one that is neither excluded nor set; or `include` and `exclude` both given.
        """
        if exclude and include:
            raise ValueError("merge_artifacts takes `exclude` or `include`, not both")
        found: dict[str, dict[str, TaskState]] = {}
        for state in inputs:
            for artifact in state.__dict__["_sources"][0]:
                found.setdefault(artifact.id, {})[artifact.sha] = state
        mine = set(self.__dict__)
        wanted = [n for n in found if n not in mine and n not in exclude and (not include or n in include)]
        split = sorted(n for n in wanted if len(found[n]) > 1)
        if split:
            raise ValueError(f"inputs have different values of {', '.join(split)}: set or exclude them")
        missing = sorted(set(include) - set(found) - mine)
        if missing:
            raise ValueError(f"no input has the artifacts {', '.join(missing)}")
        for name in wanted:
            setattr(self, name, getattr(next(iter(found[name].values())), name))

    def _value(self, frame: tuple[str, int, int]) -> Any:
        # what Metaflow keeps with the frame is a text of limited length, not the value
        return next(itertools.islice(iter(getattr(self, frame[0])), frame[1], None))


def load(pathspec: str, *, inspect: bool = False) -> tuple[TaskState, list[TaskState] | None]:
    """Return (self, inputs) of a task; inputs are None if the step is no join.

    Args:
        pathspec: `Flow/Run/Step/Task`.
        inspect: The state when the task had finished instead of when it started.
    """
    from metaflow import Task, namespace  # noqa: PLC0415

    namespace(None)
    task = Task(pathspec)
    flow, run, step, _number = pathspec.split("/")
    _announce(task, flow, run, step)
    parents = list(task.parent_tasks)
    parameters = _parameters(flow, run)
    graph = _graph(task, parameters)
    joins = graph[step]["type"] == "join" if step in graph else len(parents) > 1
    inputs = [TaskState([p], _frames(p), p.parent.id, graph) for p in parents] if joins else None
    sources = [task] if inspect else parameters if joins else parents + parameters
    return TaskState(sources, _frames(task), step, graph), inputs


def _announce(task: Any, flow: str, run: str, step: str) -> None:
    """Let `metaflow.current` answer what a step asks it."""
    from metaflow import current  # noqa: PLC0415

    current._set_env(  # noqa: SLF001 - Metaflow has no public way
        run_id=run, step_name=step, task_id=task.id, retry_count=task.current_attempt, is_running=True
    )
    current._flow_name = flow  # noqa: SLF001


def _parameters(flow: str, run: str) -> list[Any]:
    from metaflow import Step  # noqa: PLC0415
    from metaflow.exception import MetaflowNotFound  # noqa: PLC0415

    try:
        return [Step(f"{flow}/{run}/_parameters").task]
    except MetaflowNotFound:
        return []


def _graph(task: Any, parameters: Sequence[Any]) -> Mapping[str, Mapping[str, Any]]:
    for source in [task, *parameters]:
        if "_graph_info" in source:
            steps: Mapping[str, Mapping[str, Any]] = source["_graph_info"].data["steps"]
            return steps
    return {}


def _frames(task: Any) -> list[tuple[str, int, int]]:
    if "_foreach_stack" not in task:
        return []
    return [(frame.var, frame.index, frame.num_splits) for frame in task["_foreach_stack"].data or []]
