"""The command line: registered names and dotted fields in place of imports."""

from structpred.cli.main import main

__all__ = ["main"]
