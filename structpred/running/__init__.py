"""From an experiment to a finished run in its folder."""

from structpred.running.session import WAIT, train

__all__ = ["WAIT", "train"]
