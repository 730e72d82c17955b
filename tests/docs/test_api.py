"""Every program that docs/api.md shows runs, in order; and every verb is named there."""

import re
from pathlib import Path

from asynccache.api import Session
from tests.docs.shells import real_shell

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_program_of_the_page_runs(tmp_path: Path) -> None:
    assert len(PROGRAMS) == 6
    with real_shell(tmp_path) as run:
        for number, program in enumerate(PROGRAMS):
            (tmp_path / f"program{number}.py").write_text(program)
            assert run(f"python -W error program{number}.py"), "each prints something"


def test_every_verb_is_named() -> None:
    verbs = [name for name in dir(Session) if not name.startswith("_")]
    assert [name for name in verbs if f"`{name}`" not in PAGE and name != "settings"] == []
