"""From an experiment to a finished run in its folder."""

from structpred.running.lock import tidy
from structpred.running.session import WAIT, train, when_free

__all__ = ["WAIT", "tidy", "train", "when_free"]
