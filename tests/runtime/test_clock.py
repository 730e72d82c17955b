"""What has to end by a moment is given what is left until then."""

from __future__ import annotations

import subprocess
import sys

from asynccache.runtime.clock import Deadline, VirtualClock


async def test_a_deadline_gives_what_is_left_and_never_nothing() -> None:
    clock = VirtualClock(start=7.0)
    ends = Deadline(10.0, clock)
    assert (ends.left, ends.passed) == (10.0, False)
    await clock.sleep(4.0)
    assert (ends.left, ends.passed) == (6.0, False)
    await clock.sleep(6.0)
    assert ends.passed
    assert 0 < ends.left < 0.01  # no limit at all is what some libraries take 0 for


def test_who_only_measures_imports_no_event_loop() -> None:
    code = "import sys, asynccache.runtime.clock as c; c.Clock().now(); print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
