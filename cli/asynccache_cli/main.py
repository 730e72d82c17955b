"""How the process begins and ends: signals, standard streams, and how a failure is shown, with its exit code.

Imports nothing that takes time: an interrupt that comes while the commands are imported must find its handler.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    import click
    from typing_extensions import Buffer

    from asynccache.errors import AsyncCacheError, UsageError

_STOPPED = {
    signal.SIGINT: "interrupted: what is complete stays; run the same command again to continue",
    signal.SIGTERM: "terminated: what is complete stays; run the same command again to continue",
}
_USUAL = gc.get_threshold()
_IMPORTING = 50_000  # new objects after which garbage is looked for: imports create none
_received: list[int] = []  # SIGTERM, once it came
_failures: list[AsyncCacheError] = []
_unwritten: dict[int, OSError] = {}  # standard streams that could not be written, by number


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    # a signal that is ignored, as by nohup, stays ignored
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop_at_once)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop_at_once)
    gc.set_threshold(_IMPORTING)
    _open_streams()
    code = run(list(sys.argv[1:] if arguments is None else arguments))
    gc.freeze()  # at exit the interpreter would look for garbage in all objects, and frees them anyway
    sys.exit(code)


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    """Exit at once, before any work has begun: an exception could get lost in an import."""
    del frame
    try:
        os.write(2, (_STOPPED[signal.Signals(number)] + "\n").encode())
    finally:
        os._exit(128 + number)


def stop_in_order() -> None:
    """From now on signals cancel what runs, so that nothing is left incomplete."""
    if signal.getsignal(signal.SIGINT) is _stop_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is _stop_at_once:
        signal.signal(signal.SIGTERM, _terminate)


def collect_as_usual() -> None:
    """Look for garbage as often as any program does: the work from now on creates some."""
    gc.set_threshold(*_USUAL)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Exit as after an interrupt."""
    _received.append(number)
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt):
        interrupt(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


class _Output(io.FileIO):
    """A standard stream that remembers a failed write, whose exception may be swallowed on the way."""

    def write(self, data: Buffer, /) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError as exc:
            _unwritten.setdefault(self.fileno(), exc)
            raise


def _open_streams() -> None:
    """Recognise failures of our output; open the null device for a closed stream, whose number a file of ours would get
    otherwise.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        given = getattr(sys, name)
        if given is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        encoding, errors = ("utf-8", "backslashreplace") if given is None else (given.encoding, given.errors)
        if number:
            binary = io.BufferedWriter(_Output(number, "w", closefd=False))
            lines = given is not None and given.line_buffering
            setattr(sys, name, io.TextIOWrapper(binary, encoding, errors, line_buffering=lines))
        elif given is None:
            sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding)


def run(words: list[str]) -> int:
    """Run the command line; return the exit code. Failures go to stderr, as JSON when `--json` was given."""
    from asynccache_cli import postponed, watching  # noqa: PLC0415 - once signals are handled

    postponed.postpone()
    code = _run(words)
    try:
        watching.end(code, _failures[-1] if _failures else None)
    except BaseException as exc:  # noqa: BLE001 - as below
        return code or _ended(exc, words)
    return code


def _run(words: list[str]) -> int:
    try:
        from asynccache_cli.commands import group  # noqa: PLC0415 - once signals are handled

        result = group.main(words, prog_name="asynccache", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:  # noqa: BLE001 - nothing leaves but an exit code
        return _ended(exc, words)
    return result if isinstance(result, int) else 0


def _ended(error: BaseException, words: list[str]) -> int:
    """Say why the command ended, and return its exit code."""
    import click  # noqa: PLC0415

    from asynccache.api import as_failure, leaves, without_secrets  # noqa: PLC0415 - not when all is well
    from asynccache.errors import AsyncCacheError  # noqa: PLC0415

    causes = list(leaves(error))
    debug, as_json = _asked(words)
    if debug and not isinstance(error, click.exceptions.Exit | SystemExit):
        import traceback  # noqa: PLC0415

        _say(without_secrets("".join(traceback.format_exception(error))).rstrip())
    if _unwritten:
        return _output_ended(as_json=as_json)
    for cause in causes:
        if isinstance(cause, click.Abort | KeyboardInterrupt):
            number = signal.SIGTERM if _received else signal.SIGINT
            if as_json:
                stopped = AsyncCacheError(_STOPPED[number])
                stopped.exit_code = 128 + number
                show_error(stopped, as_json=True)
            else:
                _say(_STOPPED[number])
            return 128 + number
        if isinstance(cause, click.exceptions.Exit):
            return int(cause.exit_code)
        if isinstance(cause, SystemExit):
            return cause.code if isinstance(cause.code, int) else 1
        if isinstance(cause, click.ClickException):
            if as_json:
                show_error(_usage_error(cause), as_json=True)
                return 2
            try:
                cause.show()
            except OSError:
                _abandon(2)
            return 2
    failure = as_failure(error)
    _failures.append(failure)
    show_error(failure, as_json=as_json)
    return failure.exit_code


def _asked(words: list[str]) -> tuple[bool, bool]:
    """Return whether a traceback and whether JSON was asked for.

    What follows `--`, and the words of `run` and `shell`, may be another program's.
    """
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] == "--config-file" else 1
    ours = words[at : words.index("--")] if "--" in words else words[at:]
    return "--debug" in words[:at], ours[:1] not in (["run"], ["shell"]) and "--json" in ours


def _usage_error(error: click.ClickException) -> UsageError:
    """Return click's complaint about the arguments as one of our errors."""
    import click  # noqa: PLC0415

    from asynccache.errors import UsageError  # noqa: PLC0415

    context = error.ctx if isinstance(error, click.UsageError) else None
    return UsageError(error.format_message(), hint=f"`{context.command_path} --help`" if context else None)


def _output_ended(*, as_json: bool) -> int:
    """Report that the output cannot be written, if standard error still can be; return the exit code."""
    for number in _unwritten:
        _abandon(number)
    error = next(iter(_unwritten.values()))
    if error.errno == errno.EPIPE:
        return 141
    from asynccache.errors import DiskError  # noqa: PLC0415

    failure = DiskError(
        f"the output cannot be written ({error.strerror})", hint="write it elsewhere, or free some space"
    )
    show_error(failure, as_json=as_json)
    return failure.exit_code


def _abandon(number: int) -> None:
    """Discard what is still in a stream's buffer, which the interpreter flushes at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _say(text: str) -> None:
    """Write a line to standard error, if it can be written."""
    import click  # noqa: PLC0415

    try:
        click.echo(text, err=True, color=False if os.environ.get("NO_COLOR") else None)
    except OSError:
        _abandon(2)


def _short(name: str) -> str:
    """Return what follows the last slash of an address, key or path; names of environments are not shortened."""
    long = "://" in name or name.startswith(("/", "packages/")) or name.endswith((".conda", ".tar.bz2", ".whl"))
    return name.rpartition("/")[2] if long else name


def show_error(error: AsyncCacheError, *, as_json: bool) -> None:
    """Print one error: a sentence for each distinct cause, or a JSON line."""
    import click  # noqa: PLC0415

    from asynccache.errors import PartialFailureError  # noqa: PLC0415
    from asynccache_cli.json_line import json_line  # noqa: PLC0415

    if as_json:
        _say(json_line("error", error.as_document()))
        return
    if isinstance(error, PartialFailureError):
        for cause, names in error.causes():
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            _say(click.style("failed: ", fg="red") + f"{_short(names[0])}{more}: {cause}")
    _say(click.style("error: ", fg="red", bold=True) + str(error))
