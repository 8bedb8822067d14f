"""Training: data and batches, one step, the loop, checkpoints, monitoring."""

from structpred.training.parts import Part
from structpred.training.settings import (
    SGD,
    Adam,
    Constant,
    Cosine,
    InverseSquareRoot,
    Linear,
    Optimiser,
    Schedule,
    Trainer,
)

__all__ = [
    "SGD",
    "Adam",
    "Constant",
    "Cosine",
    "InverseSquareRoot",
    "Linear",
    "Optimiser",
    "Part",
    "Schedule",
    "Trainer",
]
