"""How many operations a training step takes.

They are counted rather than timed, because a clock on a machine with other work cannot tell two per cent from nothing.
"""

from collections import Counter
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import RML, Exact, LabelSmoothing, MaximumLikelihood, Sampled
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.task import Task
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.trainer import Training

TRAINER = Trainer(epochs=2, batch_tokens=384)
SOME = Temperature(edit_rate=0.05)
TAGGING, SPEAKING = LetterTagging(size=400, held_out=20), Pronunciation(size=400, held_out=20)
TAGGER, CHAIN, TRANSLATOR = (
    LSTMTagger(embedding=8, hidden=8),
    CRF(embedding=8, hidden=8),
    Seq2Seq(embedding=8, hidden=8),
)
ML, SMOOTHING = MaximumLikelihood(), LabelSmoothing()
CLOSED = RML(payoff=HammingPayoff(temperature=SOME), estimator=Exact())
DRAWN = RML(payoff=HammingPayoff(temperature=SOME), estimator=Sampled(k=1))
EDITED = RML(payoff=EditDistancePayoff(temperature=SOME), estimator=Sampled(k=1))

STEPS = [
    # the most operations that a step may take, and those of the same step at 94284c2, to which cost is compared
    pytest.param(TAGGING, TAGGER, ML, 261, 274, id="likelihood on a tagger"),
    pytest.param(TAGGING, TAGGER, SMOOTHING, 280, 293, id="smoothing on a tagger"),
    pytest.param(TAGGING, TAGGER, CLOSED, 255, 273, id="RML in closed form on a tagger"),
    pytest.param(TAGGING, TAGGER, DRAWN, 302, 320, id="RML by draws on a tagger"),
    pytest.param(TAGGING, CHAIN, ML, 453, 466, id="likelihood on a chain"),
    pytest.param(TAGGING, CHAIN, CLOSED, 447, 455, id="RML in closed form on a chain"),
    pytest.param(TAGGING, CHAIN, DRAWN, 494, 512, id="RML by draws on a chain"),
    pytest.param(SPEAKING, TRANSLATOR, ML, 439, 452, id="likelihood on an encoder-decoder"),
    pytest.param(SPEAKING, TRANSLATOR, SMOOTHING, 455, 468, id="smoothing on an encoder-decoder"),
    pytest.param(SPEAKING, TRANSLATOR, EDITED, 537, 555, id="RML by draws on an encoder-decoder"),
]


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch annotates little of this
    """Counts the operations that reach PyTorch's kernels, those of the backward pass and the optimiser included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function.name()] += 1
        return function(*args, **(kwargs or {}))


@cache
def prepared(task: Task, model: Model) -> EncodedData:
    return EncodedData.of(task.load(), model)


def operations(task: Task, model: Model, objective: Objective) -> Counter[str]:
    """Of the third step, from the gathering of its batch to the sums that a report shows; no report is due."""
    experiment = Experiment(task=task, model=model, objective=objective, trainer=TRAINER)
    training = Training(experiment, prepared(task, model), device="cpu")
    plan = training._plan()
    for position in range(2):
        training.position = position
        training._train(plan)
    training.position, counted = 2, Operations()
    with counted, patch.object(training.reporter, "due", return_value=False):  # a slow machine would make it due
        training._train(plan)
    return counted.counts


@pytest.mark.parametrize(("task", "model", "objective", "most", "before"), STEPS)
def test_a_step_takes_no_more_operations(
    task: Task, model: Model, objective: Objective, most: int, before: int
) -> None:
    counts = operations(task, model, objective)
    assert sum(counts.values()) <= most <= before, counts
