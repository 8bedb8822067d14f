"""The trainer shared by all objectives."""

from structpred.training.settings import Adam, Constant, Cosine, InverseSquareRoot, Optimiser, Schedule, Trainer

__all__ = ["Adam", "Constant", "Cosine", "InverseSquareRoot", "Optimiser", "Schedule", "Trainer"]
