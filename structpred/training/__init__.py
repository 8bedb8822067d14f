"""Training: data and batches, one step, the loop, checkpoints, monitoring."""

from structpred.training.settings import Adam, Constant, Cosine, InverseSquareRoot, Optimiser, Schedule, Trainer

__all__ = ["Adam", "Constant", "Cosine", "InverseSquareRoot", "Optimiser", "Schedule", "Trainer"]
