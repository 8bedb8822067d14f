"""From an experiment to a finished run in its folder."""

from structpred.running.lock import tidy
from structpred.running.session import WAIT, train

__all__ = ["WAIT", "tidy", "train"]
