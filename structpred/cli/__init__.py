"""The command line: registered names and dotted fields in place of imports."""

from structpred.cli.main import as_command, main

__all__ = ["as_command", "main"]
