"""The common trainer."""

from structpred.training.optimisers import Adam, Constant, Cosine, InverseSquareRoot, Optimiser, Schedule
from structpred.training.settings import Trainer

__all__ = ["Adam", "Constant", "Cosine", "InverseSquareRoot", "Optimiser", "Schedule", "Trainer"]
