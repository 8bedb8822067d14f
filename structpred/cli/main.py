"""Entry point: one line and exit status 2 for a user's mistake."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence

from structpred.blame import TRACEBACK, out_of_memory, told, users_line
from structpred.errors import CodeError, Interrupted, StructpredError
from structpred.files import described
from structpred.text import plain

INTERRUPTED = 130
LONGEST = 2000
"""Characters of a message; what is longer holds somebody's data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0 on success, 2 for a user's mistake, 130 when interrupted. An error that somebody's component raises is a mistake
    in their code: one line with their file and line, and the traceback where the environment sets STRUCTPRED_TRACEBACK.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # results are UTF-8 whatever the locale
    try:
        with _one_line_warnings(), _terminable():
            _run(sys.argv[1:] if arguments is None else arguments)
            if sys.stdout is not None:  # None: closed before we began
                sys.stdout.flush()  # here, where a full disk or a closed pipe is still caught
    except (KeyboardInterrupt, Interrupted):
        return _fail("interrupted; the same command goes on from here", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as in `structpred list | head`
        _silence_stdout()
        return 0
    except (Exception, SystemExit) as error:
        message = _sentence(error)
        if message is None:  # a fault of ours, which needs its traceback to be mended
            raise
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        return _fail(message)
    return 0


def _run(arguments: Sequence[str]) -> None:
    """Imports are made here, where Ctrl-C is one line already: those of a command that trains take seconds."""
    from rich.console import Console

    from structpred.cli.commands import parse

    command = parse(arguments)
    if command is not None:
        _import_components(getattr(command, "imports", ()))
        command.run(Console(highlight=False, markup=False))


def _import_components(names: Sequence[str]) -> None:
    """What the user's own modules register can be used by name from then on."""
    from structpred.imports import imported

    for name in names:
        imported(name)


def _sentence(error: BaseException) -> str | None:
    """What the user is told; None for an error that no user can mend."""
    hint = f"; set {TRACEBACK}=1 to see the whole traceback"
    if isinstance(error, StructpredError):
        return f"{error}{hint}" if isinstance(error, CodeError) else str(error)
    if isinstance(error, OSError) and (error.filename is not None or users_line(error) is None):
        _silence_stdout()  # what could not be written is not tried again at exit
        full = error.errno == errno.ENOSPC and error.filename is None  # files are named wherever we write them
        return f"the standard output: {error.strerror}" if full else described(error)
    if isinstance(error, MemoryError | RuntimeError) and out_of_memory(error):
        return "expected more memory than there is; lower trainer.batch_tokens, the model's size or --workers"
    if isinstance(error, SystemExit) or users_line(error) is not None:
        return f"{told(error)}{hint}"
    return None


def _fail(message: str, status: int = 2) -> int:
    _say(f"structpred: {_one_line(message)}")
    return status


def _say(line: str) -> None:
    """On the standard error, unless that was closed before we began: then `print` would take the standard output."""
    if sys.stderr is not None:
        print(line, file=sys.stderr)


def _one_line(message: str) -> str:
    """Without what a terminal would obey, and no longer than somebody would read."""
    line = " ".join(plain(message).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


def _silence_stdout() -> None:
    """Let the interpreter flush what is left into nothing; it would complain at exit otherwise."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not a real file, as under test, or closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that a checkpoint is written and workers are told."""
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
    """One line a warning, without the place in the code, and once: data may be read several times."""
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
