"""How long a run should take, from a few steps of it."""

import math
import time

import torch

from structpred.experiment import Experiment
from structpred.task import Splits
from structpred.training.data import Prepared
from structpred.training.progress import ignore
from structpred.training.settings import Trainer
from structpred.training.trainer import Training

REHEARSAL_STEPS = 12
EVALUATION_SHARE = 1.2
"""Training and evaluation together take about this many times the optimiser steps alone."""


def rehearsed(experiment: Experiment, splits: Splits, device: str) -> float:
    """Seconds that a run would take, from a few steps of it."""
    prepared = Prepared.of(splits, experiment.model)
    with torch.random.fork_rng():
        training = Training(experiment, prepared, device=device, observer=ignore)
        training.rehearse(2)  # the first steps are slow: memory is taken, kernels are chosen
        began = time.monotonic()
        steps = training.rehearse(0)  # an epoch is planned once, draws included, however many steps are taken
        planned = time.monotonic()
        training.rehearse(REHEARSAL_STEPS)
        ended = time.monotonic()
    planning = planned - began
    step = max(ended - planned - planning, 0.0) / REHEARSAL_STEPS
    return _within_budget(experiment.trainer, planning, step, steps)


def _within_budget(trainer: Trainer, planning: float, step: float, steps: int) -> float:
    """Seconds of a run whose epochs take ``steps`` steps, from those of planning an epoch and of one step."""
    most = steps * trainer.epochs
    total = most if trainer.max_steps is None else min(most, trainer.max_steps)
    seconds = (planning * math.ceil(total / steps) + step * total) * EVALUATION_SHARE
    return seconds if trainer.max_seconds is None else min(seconds, trainer.max_seconds)
