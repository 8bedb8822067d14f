"""Training objectives, one file each."""

from structpred.objective import Losses, Objective
from structpred.objectives.estimators import Estimator, Exact, Sampled
from structpred.objectives.label_smoothing import LabelSmoothing
from structpred.objectives.maximum_likelihood import MaximumLikelihood
from structpred.objectives.reward_augmented import RML

__all__ = ["RML", "Estimator", "Exact", "LabelSmoothing", "Losses", "MaximumLikelihood", "Objective", "Sampled"]
