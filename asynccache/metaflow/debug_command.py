"""`metaflow debug task`: a directory with a task's code, its environment as a kernel, and a notebook on its state."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from metaflow._vendor import click

from asynccache.metaflow import debug_files

# What Metaflow needs to find a run; none of them holds a secret.
_VARIABLES = re.compile(
    r"METAFLOW_(HOME|PROFILE|USER|DEFAULT_DATASTORE|DEFAULT_METADATA|DATASTORE_SYSROOT_\w+|SERVICE_URL|S3_ENDPOINT_URL)"
)


@click.group()
def cli() -> None:
    """Commands of the extension."""


@cli.group(help="Debug a task of a past run.")
@click.option("--quiet/--no-quiet", default=False, help="Print the directory only.")
@click.pass_context
def debug(ctx: Any, quiet: bool) -> None:  # noqa: D103 - click shows the help above
    ctx.obj = {"quiet": quiet}


@debug.command(help="Prepare a directory to debug a task: its code, its environment, a notebook on its state.")
@click.argument("pathspec")
@click.option("--metaflow-root-dir", required=True, type=click.Path(file_okay=False), help="Directory to prepare.")
@click.option("--override-env", default=None, help="Environment to use instead of the task's, by its alias.")
@click.option("--override-env-from-pathspec", default=None, help="Use the environment of this step instead.")
@click.option("--inspect/--no-inspect", default=False, help="The state after the task instead of before it.")
@click.pass_context
def task(  # noqa: D103 - click shows the help above
    ctx: Any,
    pathspec: str,
    metaflow_root_dir: str,
    override_env: str | None,
    override_env_from_pathspec: str | None,
    inspect: bool,
) -> None:
    if override_env and override_env_from_pathspec:
        raise click.UsageError("--override-env and --override-env-from-pathspec exclude each other: give one")
    quiet: bool = ctx.obj["quiet"]
    found = find_task(pathspec)
    directory = Path(metaflow_root_dir).absolute()
    if directory.is_dir() and any(directory.iterdir()):
        raise click.ClickException(f"{directory} is not empty: name a new or empty directory")
    code = code_of(found)

    def say(text: str) -> None:
        if not quiet:
            click.secho(text, err=True)

    interpreter = _interpreter(found, override_env, override_env_from_pathspec, say)
    directory.mkdir(parents=True, exist_ok=True)
    say(code.about)
    code.place(directory)
    kernel = install_kernel(found.pathspec, interpreter, directory)
    _write_files(found, code, directory, kernel, inspect=inspect)
    say(f"Open {directory / debug_files.NOTEBOOK} with the kernel '{kernel[1]}'.")
    if quiet:
        click.echo(str(directory))


@debug.command(name="generate-debug-scripts", hidden=True, help="Write only the files that a notebook needs.")
@click.option("--task-pathspec", required=True)
@click.option("--metaflow-root-dir", required=True, type=click.Path(file_okay=False))
@click.option("--inspect/--no-inspect", default=False)
@click.option("--generate-notebook/--no-generate-notebook", default=True)
@click.option("--python-executable", default=None)
def generate(  # noqa: D103 - click shows the help above
    task_pathspec: str,
    metaflow_root_dir: str,
    inspect: bool,
    generate_notebook: bool,
    python_executable: str | None,
) -> None:
    found = find_task(task_pathspec)
    directory = Path(metaflow_root_dir).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    kernel = ("python3", "Python 3")
    if python_executable:
        kernel = install_kernel(found.pathspec, python_executable, directory)
    _write_files(found, code_of(found), directory, kernel if generate_notebook else None, inspect=inspect)


def find_task(pathspec: str) -> Any:
    """Return the Metaflow `Task` that a pathspec means.

    Args:
        pathspec: `Flow` (the latest successful run of the namespace, step `end`), `Flow/Run` (step `end`),
            `Flow/Run/Step` (which must have one task), or a whole one.

    Raises:
        ClickException: There is none, or more than one.
    """
    from metaflow import Flow, Step, Task, namespace  # noqa: PLC0415
    from metaflow.exception import MetaflowException  # noqa: PLC0415

    parts = pathspec.split("/")
    if not 1 <= len(parts) <= 4 or not all(parts):
        raise click.UsageError(
            f"{pathspec!r} is no pathspec: expected Flow, Flow/Run, Flow/Run/Step or Flow/Run/Step/Task"
        )
    try:
        if len(parts) == 1:
            run = Flow(parts[0]).latest_successful_run
            if run is None:
                raise click.ClickException(f"{parts[0]} has no successful run in this namespace: name a run")
            parts.append(run.id)
        namespace(None)
        if len(parts) == 2:
            parts.append("end")
        tasks = [Task(pathspec)] if len(parts) == 4 else list(Step("/".join(parts)))
    except MetaflowException as exc:
        raise click.ClickException(f"{pathspec} was not found ({str(exc).strip()})") from exc
    if len(tasks) != 1:
        step = "/".join(parts)
        some = ", ".join(sorted(each.id for each in tasks)[:10])
        raise click.ClickException(
            f"{step} has {len(tasks)} tasks{f' ({some})' if some else ''}: name one as {step}/TASK"
        )
    return tasks[0]


class Code(NamedTuple):
    """The code that a task ran.

    Attributes:
        about: Where it is taken from, for the user.
        script: Name of the flow's file.
        source: Its text.
        place: Puts it into a directory: the user's files, and Metaflow below `.mf_code` as on the node.
    """

    about: str
    script: str
    source: str
    place: Callable[[Path], None]


def code_of(found: Any) -> Code:
    """Return the code of a task: out of its code package or, of a run that kept none, as it is in this directory.

    Raises:
        ClickException: Neither is there.
    """
    if found.code is not None:
        source = found.code.flowspec
        text = source.decode("utf-8") if isinstance(source, bytes) else source
        return Code("Unpacking the code package ...", found.code.script_name, text, partial(_unpack, found.code))
    name = Path(found.metadata_dict.get("script-name", "")).name
    path = Path(name).absolute()
    if not name or not path.is_file():
        raise click.ClickException(
            f"{found.pathspec} has no code package (runs without remote steps on a local datastore keep none) and"
            f" {name or 'its script'} is not here: call this where the flow's file is"
        )
    about = f"The run kept no code package: using {path} as it is now."
    return Code(about, path.name, path.read_text("utf-8"), partial(_link, path))


def _unpack(code: Any, directory: Path) -> None:
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        code.tarball.extractall(str(directory), **safe)  # noqa: S202 - filtered where Python can
    except tarfile.TarError as exc:
        raise click.ClickException(f"the code package of the task cannot be unpacked ({exc})") from exc


def _link(script: Path, directory: Path) -> None:
    """Link the flow's neighbours, and Metaflow below `.mf_code`."""
    import metaflow  # noqa: PLC0415

    for path in script.parent.iterdir():
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            (directory / path.name).symlink_to(path)
    below = directory / ".mf_code"
    below.mkdir(exist_ok=True)
    packages = [Path(metaflow.__file__).parent, Path(__file__).absolute().parents[1]]
    # the flow's module may import names from `metaflow` that extensions put there
    extensions = importlib.util.find_spec("metaflow_extensions")
    places = extensions.submodule_search_locations if extensions else None
    packages += [Path(place) for place in list(places or ())[:1]]
    for package in packages:
        (below / package.name).symlink_to(package)


def install_kernel(pathspec: str, interpreter: str, directory: Path) -> tuple[str, str]:
    """Write a kernel for this user whose Python finds the code in `directory`; return (name, display name).

    Raises:
        ClickException: It cannot be written.
    """
    from asynccache.api.flows import write_kernel  # noqa: PLC0415 - not for what only imports this module
    from asynccache.errors import DiskError  # noqa: PLC0415 - as above

    name = "mf_debug_" + re.sub(r"[^a-z0-9_]", "_", pathspec.lower())
    display = f"Metaflow debug {pathspec}"
    places = [directory / part for part in ("", ".mf_code", "_escape_trampolines")]
    try:
        write_kernel(name, display, Path(interpreter), pythonpath=places)
    except DiskError as exc:
        raise click.ClickException(str(exc)) from exc
    return name, display


def _write_files(found: Any, code: Code, directory: Path, kernel: tuple[str, str] | None, *, inspect: bool) -> None:
    from metaflow import get_metadata  # noqa: PLC0415

    (directory / "_escape_trampolines").mkdir(exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if _VARIABLES.match(name)}
    try:
        files = debug_files.DebugFiles(
            found.pathspec,
            code.source,
            Path(code.script).stem,
            inspect=inspect,
            variables=variables,
            metadata=get_metadata(),
        )
    except debug_files.StepNotFoundError as exc:
        raise click.ClickException(f"{exc}: no notebook can be made") from exc
    files.write(directory, kernel)


def _interpreter(found: Any, override: str | None, override_pathspec: str | None, say: Callable[[str], None]) -> str:
    """Create the environment that the task ran in, or the one named instead; return its Python."""
    recorded = found.metadata_dict.get("conda_env_id")
    if not (override or override_pathspec or recorded):
        say(f"{found.pathspec} did not run in an environment: using this Python")
        return sys.executable
    from asynccache.metaflow.command_work import Work  # noqa: PLC0415 - not for what only imports this module

    step = "/".join(found.pathspec.split("/")[:3])
    name = re.sub(r"[/\-:]", "_", override or override_pathspec or found.pathspec).lower()
    say(f"Creating the environment {name} ...")
    work = Work(quiet=True)
    try:
        made = work.made(override or f"step:{override_pathspec or step}", force=True, install_notebook=True, name=name)
    except click.ClickException as exc:
        raise click.ClickException(f"the environment of {step} could not be created: {exc.message}") from exc
    return str(made.prefix / "bin" / "python")
