"""Which training objective should a structured-prediction model use, and at which temperature?"""

from structpred.comparison.report import Report
from structpred.comparison.runner import compare
from structpred.decoding import Decoding
from structpred.experiment import Experiment
from structpred.runs import Run
from structpred.train import train
from structpred.training.optimisers import Adam
from structpred.training.settings import Trainer
from structpred.tuning.report import Tuning
from structpred.tuning.tuner import tune

__all__ = ["Adam", "Decoding", "Experiment", "Report", "Run", "Trainer", "Tuning", "compare", "train", "tune"]
