"""Entry point: one line and exit status 2 for a user's mistake."""

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from structpred.cli.catalogue import Clean, Describe, List
from structpred.cli.commands import Compare, Evaluate, Predict, Train
from structpred.errors import StructpredError
from structpred.training.trainer import Interrupted

Command = (
    Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Clean, tyro.conf.subcommand("clean")]
)

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0 on success, 2 for a user's mistake, 130 when interrupted.
    """
    warnings.showwarning = _show_warning
    command = tyro.cli(Command, prog="structpred", description=__doc__, args=arguments)  # type: ignore[var-annotated, call-overload]
    try:
        command.run(Console())
    except (KeyboardInterrupt, Interrupted):
        print("structpred: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `structpred list | head`
        sys.stderr.close()
        return 0
    except (StructpredError, OSError) as error:
        print(f"structpred: {error}", file=sys.stderr)
        return 2
    return 0


def _show_warning(message: Warning | str, *details: object) -> None:
    """One line a warning, without the place in the code."""
    del details
    print(f"structpred: warning: {message}", file=sys.stderr)
