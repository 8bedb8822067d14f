"""Every objective trains on every model it claims, on the data that need no download."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain, product

import pytest
import torch
from _pytest.mark.structures import ParameterSet

from structpred.capabilities import combinations
from structpred.config import components, registered_name
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq, Transformer
from structpred.objective import Objective
from structpred.objectives import (
    GRPO,
    REINFORCE,
    Anneal,
    MaximumLikelihood,
    MinimumRisk,
    Point,
    Switch,
    Weighted,
    WeightedSum,
)
from structpred.payoffs import ReweightedPayoff
from structpred.rewards import ConstantReward, EveryReference, Reward, SentenceBleu, WeightedReward
from structpred.runs import train
from structpred.task import Splits, Task
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Adam, Constant, Trainer
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training

SIZE, MORE = 96, 480
"""Training examples; more where the gradient is a product of a few draws, whose noise hides the change in 96."""

Taught = Callable[[Objective, Model], Objective]

SMALL: dict[str, Model] = {
    "crf": CRF(embedding=12, hidden=16, dropout=0.1),
    "lstm-tagger": LSTMTagger(embedding=12, hidden=16, dropout=0.1),
    "seq2seq": Seq2Seq(embedding=12, hidden=16, dropout=0.1, length_ratio=1.0, length_extra=2),
}
TRANSFORMER = Transformer(
    hidden=16, feedforward=32, encoder_layers=1, decoder_layers=1, dropout=0.1, length_ratio=1.0, length_extra=2
)
"""Trained under one objective: it offers the verbs of a ``seq2seq``, and takes longer."""


def task_for(model: Model, size: int) -> Task:
    if model.distribution.fixed_length:
        return LetterTagging(size=size, held_out=4)
    return Pronunciation(size=size, held_out=4)


@cache
def loaded(task: Task) -> Splits:
    return task.load()


@cache
def prepared(model: Model, size: int) -> EncodedData:
    return EncodedData.of(loaded(task_for(model, size)), model)


MADE_OF_OTHERS = (
    WeightedSum(parts=(Weighted(objective=MaximumLikelihood(), weight=0.3), Weighted(objective=REINFORCE()))),
    Switch(first=MaximumLikelihood(), second=MinimumRisk(), at=Point(share=0.25)),
    Anneal(first=MaximumLikelihood(), second=REINFORCE(), start=Point(share=0), end=Point(share=1)),
)
"""Objectives that take others; `combinations` leaves them out, because they work where their parts do."""


def pairs() -> Iterator[ParameterSet]:
    """What the capability table says works; a function of the user's own and what other tests register left out.

    A reward that says nothing moves nothing, as it should. A payoff for any reward is drawn ahead of the step whatever
    its reward, so one reward is enough. One against every reference is asked as any other: REINFORCE alone tries it.
    """
    for objective, model in chain(combinations(), product(MADE_OF_OTHERS, SMALL.values())):
        parts = list(components(objective))
        ours = all(type(part).__module__.startswith("structpred.") for part in parts)
        ours &= not any(isinstance(part, ConstantReward) for part in parts)
        ours &= isinstance(objective, REINFORCE) or not any(isinstance(part, EveryReference) for part in parts)
        ours &= all(part.reward == SentenceBleu() for part in parts if isinstance(part, ReweightedPayoff))
        small, name = SMALL.get(registered_name(model)), registered_name(objective)
        if ours and small is not None and "module:function" not in objective.to_json():
            yield pytest.param(objective, small, id=f"{name} on {registered_name(model)}")


PAIRS = [*pairs(), pytest.param(MaximumLikelihood(), TRANSFORMER, id="maximum-likelihood on transformer")]


def experiment_of(objective: Objective, model: Model, size: int = SIZE) -> Experiment:
    return Experiment(
        task=task_for(model, size),
        model=model,
        objective=objective,
        optimiser=Adam(lr=1e-2, schedule=Constant()),
        trainer=Trainer(epochs=1, batch_tokens=128),
    )


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """Gives an objective that needs a teacher one: the model itself after some epochs of likelihood."""
    root = tmp_path_factory.mktemp("teachers")

    @cache
    def teacher(model: Model) -> str:
        lesson = replace(experiment_of(MaximumLikelihood(), model), trainer=Trainer(epochs=8, batch_tokens=128))
        return str(train(lesson, root=root).folder.path)

    def with_teacher(objective: Objective, model: Model) -> Objective:
        if not objective.learns_from:
            return objective
        return replace(objective, **{objective.learns_from: teacher(model)})

    return with_teacher


def training_of(objective: Objective, model: Model, size: int = SIZE) -> Training:
    with torch.random.fork_rng():
        experiment = experiment_of(objective, model, size)
        return Training(experiment, prepared(model, size), device="cpu", observer=ignore)


def but_for_the_reward(pair: ParameterSet) -> tuple[str, ...]:
    """The classes of the model and of all parts of an objective that are no reward."""
    objective, model = pair.values
    assert isinstance(objective, Objective)
    parts = (part for part in components(objective) if not isinstance(part, (Reward, WeightedReward)))
    return type(model).__name__, *(type(part).__name__ for part in parts)


LASTING = list({but_for_the_reward(pair): pair for pair in reversed(PAIRS)}.values())
"""Of pairs that differ in the reward alone, the first: others are asked as this one is, so two steps are enough."""


@pytest.mark.parametrize(("objective", "model"), [pair for pair in PAIRS if pair not in LASTING])
def test_two_steps_move_the_weights_and_keep_them_finite(objective: Objective, model: Model, taught: Taught) -> None:
    with torch.random.fork_rng():
        training = training_of(taught(objective, model), model)
        before = [parameter.detach().clone() for parameter in training.model.parameters()]
        training.rehearse(2)
    after = list(training.model.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def epoch_of(training: Training) -> EpochPlan:
    data = training.prepared.training
    return EpochPlan(data, data, training.recipe.objective, budget=128, seed=0, epoch=0)


def loss_per_token(training: Training) -> float:
    """Of the whole training set under the same draws, without dropout, as it counts half-way through training."""
    plan = epoch_of(training)
    training.stepper.generator.manual_seed(5)
    training.stepper.step.eval()
    with torch.no_grad(), torch.random.fork_rng():
        losses = [training.stepper.step(*plan[i].tensors(), training.steps, 0.5)[0].sum() for i in range(len(plan))]
    training.stepper.step.train()
    return float(torch.stack(losses).sum()) / sum(plan[i].tokens for i in range(len(plan)))


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "model"), LASTING)
def test_one_epoch_improves_the_training_loss(objective: Objective, model: Model, taught: Taught) -> None:
    with torch.random.fork_rng():
        still = replace(model, dropout=0.0)  # type: ignore[call-arg]  # all of SMALL have it
        size = MORE if isinstance(objective, (GRPO, REINFORCE)) else SIZE
        training = training_of(taught(objective, still), still, size)
        before = loss_per_token(training)
        training.rehearse(len(epoch_of(training)))
        after = loss_per_token(training)
    assert after < before
    assert all(torch.isfinite(parameter).all() for parameter in training.model.parameters())
