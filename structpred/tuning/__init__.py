"""Tuning: Optuna searches, an engine trains, and every trial is an ordinary run."""

from structpred.engine import WorkerDied
from structpred.tuning import spaces
from structpred.tuning.outcomes import Outcome, Result
from structpred.tuning.spaces import Over, Range, Space, Suggest
from structpred.tuning.tuner import Tuning, tune

__all__ = ["Outcome", "Over", "Range", "Result", "Space", "Suggest", "Tuning", "WorkerDied", "spaces", "tune"]
