"""Scripts of packages run as conda runs them, and tell why they failed."""

from pathlib import Path

import pytest

from asynccache.errors import HydrationError
from asynccache.node.link_script import run_link_script


def _script(prefix: Path, text: str) -> str:
    (prefix / "bin").mkdir(exist_ok=True)
    (prefix / "bin/.x-post-link.sh").write_text(text)
    return "bin/.x-post-link.sh"


def test_it_knows_its_prefix_and_package_and_what_it_tells_is_returned(tmp_path: Path) -> None:
    script = _script(
        tmp_path, 'echo "$PREFIX $CONDA_PREFIX $PKG_NAME $PKG_VERSION $PKG_BUILDNUM ${PATH%%:*} $PWD" > .messages.txt'
    )
    told = run_link_script(str(tmp_path), "my-x-1.0-py311_7", script, 60.0)
    assert told == f"{tmp_path} {tmp_path} my-x 1.0 7 {tmp_path}/bin {tmp_path}"
    assert not (tmp_path / ".messages.txt").exists()
    assert run_link_script(str(tmp_path), "x-1.0-0", _script(tmp_path, "true"), 60.0) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo out; echo err >&2; exit 3", "expected exit code 0, found 3: out\nerr; do without"),
        ("exit 4", "expected exit code 0, found 4; do without"),
        ("sleep 60", "did not end within 0.2 seconds; do without"),
    ],
)
def test_why_it_failed_is_said(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(HydrationError) as caught:
        run_link_script(
            str(tmp_path),
            "x-1.0-0",
            _script(tmp_path, f"exec 2>&1; {text}"),
            0.2 if "sleep" in text else 60.0,
            "do without",
        )
    assert str(caught.value).endswith(reason)


def test_it_runs_in_the_activated_environment(tmp_path: Path) -> None:
    """As scripts of compilers and of GDAL need it: they use variables that other packages' activation sets."""
    scripts, variables = tmp_path / "etc/conda/activate.d", tmp_path / "etc/conda/env_vars.d"
    scripts.mkdir(parents=True)
    variables.mkdir()
    (scripts / "b of two.sh").write_text('export ACTOR_HOME="$ACTOR_HOME/tool"\n')
    (scripts / "a.sh").write_text('export ACTOR_HOME="$CONDA_PREFIX/share"\nfalse\n')
    (variables / "actor.json").write_text('{"ACTOR_MODE": "quiet"}')
    script = _script(tmp_path, 'echo "$ACTOR_HOME $ACTOR_MODE $PKG_NAME" > .messages.txt')
    assert run_link_script(str(tmp_path), "x-1.0-0", script, 60.0) == f"{tmp_path}/share/tool quiet x"


def test_what_a_failing_one_told_the_user_is_said(tmp_path: Path) -> None:
    script = _script(tmp_path, 'echo "install the driver first" > .messages.txt; echo out; exit 1')
    with pytest.raises(HydrationError, match="found 1: install the driver first\nout"):
        run_link_script(str(tmp_path), "x-1.0-0", script, 60.0)
    assert not (tmp_path / ".messages.txt").exists()
