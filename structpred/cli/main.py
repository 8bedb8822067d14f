"""Entry point: a user's mistake is one line and exit status 2."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from structpred.blame import TRACEBACK, error_message, out_of_memory, users_line
from structpred.errors import CodeError, Interrupted, StructpredError
from structpred.files import os_error_message
from structpred.text import plain

INTERRUPTED, BROKEN_PIPE = 130, 141
LONGEST = 2000
"""Maximum length of a message; longer ones contain data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0 on success, 2 for a user's mistake, 130 when interrupted, 141 where the reader of the output went away before work
    that can be resumed was done. An exception in a user's component counts as a mistake: one line with file and line,
    and the traceback if the environment variable STRUCTPRED_TRACEBACK is set.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return as_command(lambda: _run(given), resumes=lambda: _resumes(given))


def as_command(work: Callable[[], None], *, exits: bool = False, resumes: Callable[[], bool] = lambda: True) -> int:
    """Do some work as `main` runs a command; returns the exit status. For modules of experiments as well.

    Args:
        work: the work.
        exits: an exit within it is its own, such as that of argparse, and no mistake of a user's component.
        resumes: asked once the work is interrupted: does it go on from there when it is called again?
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # results are UTF-8 in any locale
    try:
        with _one_line_warnings(), _terminable():
            work()
            if sys.stdout is not None:  # None: closed before we started
                sys.stdout.flush()  # here, so that a full disk or a closed pipe is still caught
    except (KeyboardInterrupt, Interrupted):
        return _fail("interrupted" + ("; the same command resumes from here" if resumes() else ""), INTERRUPTED)
    except BrokenPipeError:  # the reader has closed the pipe, as in `structpred list | head`
        _silence_stdout()
        return BROKEN_PIPE if resumes() else 0
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):  # how rich tells of it
            return BROKEN_PIPE if resumes() else 0
        message = None if exits and isinstance(error, SystemExit) else _sentence(error)
        if message is None:  # a bug of ours, whose traceback is shown, or an exit
            raise
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        return _fail(message)
    return 0


def _run(arguments: Sequence[str]) -> None:
    """Import here, where Ctrl-C is already handled: the imports of a command that trains take seconds."""
    from rich.console import Console

    from structpred.cli.commands import parse
    from structpred.imports import imported

    command = parse(arguments)
    if command is not None:
        for name in getattr(command, "imports", ()):  # so that the components of users' modules are known by name
            imported(name)
        command.run(Console(highlight=False, markup=False))


def _resumes(arguments: Sequence[str]) -> bool:
    """Whether the command that these arguments name goes on where it was interrupted."""
    from structpred.cli.commands import COMMANDS

    named = bool(arguments) and arguments[0] in COMMANDS
    return named and COMMANDS[arguments[0]].resumes and "--dry-run" not in arguments


def _sentence(error: BaseException) -> str | None:
    """The message for the user; None for an error that no user can fix."""
    hint = f"; set {TRACEBACK}=1 to see the whole traceback"
    if isinstance(error, StructpredError):
        return f"{error}{hint}" if isinstance(error, CodeError) else str(error)
    if isinstance(error, OSError) and (error.filename is not None or users_line(error) is None):
        _silence_stdout()  # so that the failed output is not written again at exit
        full = error.errno == errno.ENOSPC and error.filename is None  # errors of files have a name
        return f"the standard output: {error.strerror}" if full else os_error_message(error)
    if isinstance(error, MemoryError | RuntimeError) and out_of_memory(error):
        return (
            "expected more memory than there is; lower trainer.batch_tokens, the model's size or --workers, and where "
            "outputs are searched for, --beam, --n-best or --candidates"
        )
    if isinstance(error, SystemExit) or users_line(error) is not None:
        return f"{error_message(error)}{hint}"
    return None


def _fail(message: str, status: int = 2) -> int:
    _say(f"structpred: {_one_line(message)}")
    return status


def _say(line: str) -> None:
    """Print to standard error, unless it is closed: then `print` would use standard output."""
    if sys.stderr is not None:
        print(line, file=sys.stderr)


def _one_line(message: str) -> str:
    """Without control characters, and shortened to `LONGEST`."""
    line = " ".join(plain(message).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


def _silence_stdout() -> None:
    """Discard the remaining output, about which the interpreter would complain at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or not a real file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that checkpoints are written and workers end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show each warning as one line, without its place in the code, and once: data may be read several times."""
    said: set[str] = set()

    def show(message: Warning | str, *details: object) -> None:
        del details
        line = f"structpred: warning: {_one_line(str(message))}"
        if line not in said:
            said.add(line)
            _say(line)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # it is called by position
        yield
