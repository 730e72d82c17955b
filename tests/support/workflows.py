"""What the runners of compiled workflows share: a container for each try of a task, until one succeeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.sandbox import Container, Image, run


class WorkflowFailedError(Exception):
    """A task failed as often as it may."""

    def __init__(self, container: Container) -> None:
        super().__init__(f"{container.name} ended with {container.exit_code}:\n{container.output}")


@dataclass(slots=True)
class WorkflowRun:
    """One run of a compiled workflow.

    Attributes:
        image: What its containers start from.
        directory: Where their directories are made.
        empty: Absolute paths of empty directories that each container gets.
        containers: All of them in the order of their start, failed tries included.
    """

    image: Image
    directory: Path
    empty: tuple[str, ...] = ()
    containers: list[Container] = field(default_factory=list)

    def task(
        self,
        name: str,
        tries: int,
        command: Callable[[int], tuple[Sequence[str], Mapping[str, str]]],
    ) -> Container:
        """Run a task and return the container that succeeded.

        Args:
            name: Part of the containers' names.
            tries: How many there are.
            command: Gives words and environment for the number of a try, counted from zero.

        Raises:
            WorkflowFailedError: No try succeeded.
        """
        for attempt in range(tries):
            words, environment = command(attempt)
            directory = self.directory / f"{len(self.containers)}-{name}-{attempt}"
            container = run(self.image, directory, words, environment, self.empty)
            self.containers.append(container)
            if not container.exit_code:
                return container
        raise WorkflowFailedError(self.containers[-1])

    def outputs(self, name: str) -> list[str]:
        """Return what the containers of a task printed."""
        return [each.output for each in self.containers if each.name.split("-", 1)[1].rpartition("-")[0] == name]
