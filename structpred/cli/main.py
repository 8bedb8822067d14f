"""Entry point: one line and exit status 2 for a user's mistake."""

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

from structpred.errors import Interrupted, StructpredError
from structpred.files import described

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0 on success, 2 for a user's mistake, 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # results are UTF-8 whatever the locale
    try:
        with _one_line_warnings(), _terminable():
            _run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()  # here, where a full disk or a closed pipe is still caught
    except (KeyboardInterrupt, Interrupted):
        return _fail("interrupted; the same command goes on from here", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as in `structpred list | head`
        _silence_stdout()
        return 0
    except StructpredError as error:
        return _fail(str(error))
    except OSError as error:
        _silence_stdout()  # what could not be written is not tried again at exit
        return _fail(described(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _fail("expected more memory than there is; lower trainer.batch_tokens, the model's size or --workers")
    return 0


def _run(arguments: Sequence[str]) -> None:
    """Imports are made here, where Ctrl-C is one line already: those of a command that trains take seconds."""
    from rich.console import Console

    from structpred.cli.arguments import parse

    command = parse(arguments)
    if command is not None:
        command.run(Console(highlight=False, markup=False))


def _out_of_memory(error: Exception) -> bool:
    from structpred.training.gradient import out_of_memory

    return out_of_memory(error)


def _fail(message: str, status: int = 2) -> int:
    print(f"structpred: {' '.join(message.split())}", file=sys.stderr)
    return status


def _silence_stdout() -> None:
    """Let the interpreter flush what is left into nothing; it would complain at exit otherwise."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: not a real file, as under test
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
    """One line a warning, without the place in the code."""

    def show(message: Warning | str, *details: object) -> None:
        del details
        print(f"structpred: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # it is called by position
        yield
