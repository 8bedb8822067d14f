"""Every objective trains on every model it claims, on the data that need no download."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from _pytest.mark.structures import ParameterSet

from structpred.capabilities import combinations
from structpred.config import registered_name
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import REINFORCE, MinimumRisk
from structpred.task import Splits, Task
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Adam, Constant, Trainer
from structpred.training.batching import EpochPlan
from structpred.training.data import Prepared
from structpred.training.progress import ignore
from structpred.training.step import plain
from structpred.training.trainer import Training

SMALL: dict[str, Model] = {
    "crf": CRF(embedding=12, hidden=16, dropout=0.1),
    "lstm-tagger": LSTMTagger(embedding=12, hidden=16, dropout=0.1),
    "seq2seq": Seq2Seq(embedding=12, hidden=16, dropout=0.1, length_ratio=1.0, length_extra=2),
}


def task_for(model: Model, size: int) -> Task:
    if model.distribution.fixed_length:
        return LetterTagging(size=size, held_out=4)
    return Pronunciation(size=size, held_out=4)


@cache
def loaded(task: Task) -> Splits:
    return task.load()


@cache
def prepared(model: Model, size: int) -> Prepared:
    return Prepared.of(loaded(task_for(model, size)), model)


def pairs() -> Iterator[ParameterSet]:
    """What the capability table says works; a function of the user's own and what other tests register left out."""
    for objective, model in combinations():
        ours = type(objective).__module__.startswith("structpred.")
        small, name = SMALL.get(registered_name(model)), registered_name(objective)
        absent = any(name in objective.to_json() for name in ("module:function", "runs/teacher"))
        if ours and small is not None and not absent:
            yield pytest.param(objective, small, id=f"{name} on {registered_name(model)}")


PAIRS = list(pairs())


def training_of(objective: Objective, model: Model, size: int = 96) -> Training:
    experiment = Experiment(
        task=task_for(model, size),
        model=model,
        objective=objective,
        optimiser=Adam(lr=1e-2, schedule=Constant()),
        trainer=Trainer(epochs=1, batch_tokens=128),
    )
    with torch.random.fork_rng():
        return Training(experiment, prepared(model, size), device="cpu", observer=ignore)


@pytest.mark.parametrize(("objective", "model"), PAIRS)
def test_two_steps_move_the_weights_and_keep_them_finite(objective: Objective, model: Model) -> None:
    with torch.random.fork_rng():
        training = training_of(objective, model)
        before = [parameter.detach().clone() for parameter in training.model.parameters()]
        training.rehearse(2)
    after = list(training.model.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def epoch_of(training: Training) -> EpochPlan:
    data = training.prepared.training
    return EpochPlan(data, data, training.recipe.objective, budget=128, seed=0, epoch=0)


def loss_per_token(training: Training) -> float:
    """Of the whole training set under the same draws, without dropout."""
    plan = epoch_of(training)
    training.generator.manual_seed(5)
    training.step.eval()
    with torch.no_grad(), torch.random.fork_rng():
        losses = [training.step(*plain(plan[i]), training.steps, 0.0)[0].sum() for i in range(len(plan))]
    training.step.train()
    return float(torch.stack(losses).sum()) / sum(plan[i].tokens for i in range(len(plan)))


def improvable() -> Iterator[ParameterSet]:
    """All pairs; the one whose loss is known to rise is expected to, strictly, so that mending it shows."""
    for pair in PAIRS:
        objective, model = pair.values
        if isinstance(objective, MinimumRisk) and isinstance(model, Seq2Seq):
            reason = "better draws leave the reference that is put beside them less weight, which raises the risk"
            yield pytest.param(objective, model, id=pair.id, marks=pytest.mark.xfail(reason=reason))
        else:
            yield pair


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "model"), list(improvable()))
def test_one_epoch_improves_the_training_loss(objective: Objective, model: Model) -> None:
    with torch.random.fork_rng():
        still = replace(model, dropout=0.0)  # type: ignore[call-arg]  # all of SMALL have it
        training = training_of(objective, still, size=480 if isinstance(objective, REINFORCE) else 96)
        before = loss_per_token(training)
        training.rehearse(len(epoch_of(training)))
        after = loss_per_token(training)
    assert after < before
