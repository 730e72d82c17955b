"""How far caching and making environments are, as a launch says it."""

from __future__ import annotations

from asynccache.api import events
from asynccache.metaflow.progress import Announcement, Progress

MB = 1_000_000


class Hand:
    """A clock whose hand is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_has_packages_bytes_speed_and_time_left() -> None:
    clock, said = Hand(), list[str]()
    progress = Progress(said.append, "Caching", clock=clock)
    progress.take(events.RunStarted(4, 0))
    for name in "ab":
        progress.take(events.PhaseStarted("fetch", name, 50 * MB))
    progress.take(events.BytesMoved("fetch", "a", 10 * MB))
    clock.now += 2
    progress.take(events.BytesMoved("fetch", "a", 10 * MB))
    assert said == []  # most of what is asked for takes no longer
    clock.now += 2
    progress.take(events.BytesMoved("fetch", "a", 20 * MB))
    # two of four packages have 100 MB, so all have 200: 160 are left at 10 a second
    assert said == ["Caching: 40.0 MB of 100.0 MB, 10.0 MB/s, about 16 s left"]
    progress.take(events.PackageDone("a", "https://h/a", 4.0))
    assert len(said) == 1
    clock.now += 5
    progress.take(events.PackageDone("c", "https://h/c", 0.0))
    assert said[1].startswith("Caching: 2 of 4 packages, 40.0 MB of 100.0 MB, 4.4 MB/s, about ")


def test_packages_that_are_extracted_count_where_their_number_is_known() -> None:
    clock, said = Hand(), list[str]()
    progress = Progress(said.append, "Creating", clock=clock)
    for _again in range(2):  # the second begins again
        with progress.making():
            progress.take(events.RunStarted(3, 3 * MB))
            progress.take(events.PackageExtracted("a-1-0", "web", MB, 0.1))
            clock.now += 10
            progress.take(events.PackageExtracted("b-1-0", "web", MB, 0.1))
    assert said == ["Creating: 2 of 3 packages"] * 2


def test_what_is_waited_for_is_said_at_once() -> None:
    said = list[str]()
    progress = Progress(said.append, "Caching")
    progress.take(events.LockWaited("a", "process 7", 30.0))
    progress.take(events.Retried("a", "https://h/a", 2, 1.5, "503"))
    assert said == ["waiting for a: process 7 works on it (30 s)", "try 2 of a failed, next in 1.5 s: 503"]


def test_what_is_said_during_the_work_stands_below_the_line_that_announces_it() -> None:
    written: list[str] = []
    announced = Announcement(lambda text, nl=True: written.append(text + "\n" * nl), indent="  ")
    announced.begin("Resolving ...")
    announced.end("done.")
    announced.begin("Resolving ...")
    announced.say("Caching: 1 of 2 packages")
    announced.end("done.")
    assert "".join(written) == "  Resolving ... done.\n  Resolving ...\n  Caching: 1 of 2 packages\n  done.\n"
