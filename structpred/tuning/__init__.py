"""Tuning: Optuna searches, any number of processes share the trials, and every trial is an ordinary run."""

from structpred.tuning import spaces
from structpred.tuning.outcomes import Outcome, Result
from structpred.tuning.processes import WorkerDied
from structpred.tuning.report import Tuning
from structpred.tuning.spaces import Over, Range, Space, Suggest
from structpred.tuning.tuner import tune

__all__ = ["Outcome", "Over", "Range", "Result", "Space", "Suggest", "Tuning", "WorkerDied", "spaces", "tune"]
