"""The command line: names and dotted fields at the edge, the library within."""

from structpred.cli.main import main

__all__ = ["main"]
