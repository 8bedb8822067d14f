"""DPO and CPO: which pairs are compared, and value and gradient over all tuples of candidates."""

import math
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from structpred.distributions import Factorised
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Objective
from structpred.objectives import CPO, DPO, MaximumLikelihood, NBest, Samples
from structpred.objectives.candidates import Candidates
from structpred.objectives.distillation import Teacher
from structpred.objectives.preference import ranked_pairs
from structpred.rewards import ConstantReward, EditDistance
from structpred.runs import train
from structpred.sequences import Sequences
from structpred.testing import expected_gradient
from structpred.testing.spaces import (
    Dictated,
    as_candidates,
    built,
    every_output,
    log_probs_of,
    repeated,
    targets_for,
    tiny_models,
    tuples_of,
)
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from tests.support.tiny import Copying

MODELS = ("crf", "lstm-tagger", "seq2seq")
INPUTS = Sequences.of([[0, 1]])
BETA = 0.7


class Dictating(nn.Module):
    """A network whose draws are given."""

    def __init__(self, network: nn.Module, outputs: Sequences) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, inputs: Sequences) -> Any:
        return Dictated(self.network(inputs), self.outputs)


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return torch.cat([(torch.zeros_like(each) if slope is None else slope).flatten() for slope, each in pairs])


@dataclass(frozen=True)
class Prepared:
    """A model, the run that it is measured from, and every output of the only example."""

    network: nn.Module
    start: nn.Module
    target: Sequences
    every: Sequences

    @classmethod
    def of(cls, name: str) -> "Prepared":
        model = tiny_models()[name]
        network = built(model)
        every = every_output(network(INPUTS), 2)
        return cls(network, built(model, seed=7), targets_for(model, INPUTS), every)

    def log_probs(self) -> tuple[Tensor, Tensor, list[float]]:
        """log p, with gradient, log q, and the rewards."""
        rewards = EditDistance().score(self.every, self.target)[0].tolist()
        log_q = log_probs_of(self.start(INPUTS), self.every)[0]
        return self.network(INPUTS).log_prob(self.every)[0], log_q, rewards


@pytest.mark.parametrize("name", MODELS)
def test_dpo_is_expected_over_all_pairs_of_draws_from_the_run(name: str) -> None:
    at = Prepared.of(name)
    tuples = tuples_of(at.every, 2)
    inputs, targets = repeated(INPUTS, len(tuples)), repeated(at.target, len(tuples))
    objective = DPO(run="given", beta=BETA, candidates=Samples(k=2, reference="left out"))
    teacher = Teacher(Dictating(at.start, tuples), "symbols", "given")
    values = objective(at.network(inputs), targets, state=teacher, inputs=inputs).values
    chances = log_probs_of(at.start(inputs), tuples).sum(1).exp()
    found = (chances * values).sum()
    log_p, log_q, rewards = at.log_probs()
    truth = torch.zeros((), dtype=torch.float64)
    for one, other in product(range(len(rewards)), repeat=2):
        if rewards[one] == rewards[other]:
            continue
        better, worse = (one, other) if rewards[one] > rewards[other] else (other, one)
        margin = BETA * (log_p[better] - log_q[better] - log_p[worse] + log_q[worse])
        truth = truth + (log_q[one] + log_q[other]).exp() * softplus(-margin)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)
    expected = gradient(truth, at.network)
    assert expected.norm() > 0.01
    torch.testing.assert_close(gradient(found, at.network), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_cpo_is_expected_over_all_pairs_of_draws_from_the_model(name: str) -> None:
    at = Prepared.of(name)
    objective = CPO(beta=BETA, ml_weight=0.3, candidates=Samples(k=2, reference="left out"))
    slopes = expected_gradient(objective, at.network, INPUTS, at.target, 2)
    found = torch.cat([each.flatten() for each in slopes])
    log_p, _, rewards = at.log_probs()
    truth = torch.zeros((), dtype=torch.float64)
    for one, other in product(range(len(rewards)), repeat=2):
        better, worse = (one, other) if rewards[one] >= rewards[other] else (other, one)
        loss = -0.3 * log_p[better]
        if rewards[one] != rewards[other]:
            loss = loss + softplus(-BETA * (log_p[better] - log_p[worse]))
        truth = truth + (log_p[one] + log_p[other]).exp().detach() * loss  # draws are made without gradient
    torch.testing.assert_close(found, gradient(truth, at.network), rtol=0, atol=1e-9)


def test_at_the_start_dpo_is_half_of_beta_times_the_difference_and_its_loss_ln_2() -> None:
    at = Prepared.of("seq2seq")
    same = Teacher(built(tiny_models()["seq2seq"]), "symbols", "given")
    objective = DPO(run="given", beta=BETA, candidates=NBest(k=6, reference="added"))
    (found,) = objective(at.network(INPUTS), at.target, state=same, inputs=INPUTS).values
    assert found.item() == pytest.approx(math.log(2), abs=1e-9)
    drawn = objective.candidates.draw(at.network(INPUTS), at.target, None)
    pairs = ranked_pairs(drawn, EditDistance(), at.target)
    log_p = at.network(INPUTS).log_prob(pairs.outputs)[0]
    expected = gradient(-BETA / 2 * (log_p[0] - log_p[1]), at.network)
    torch.testing.assert_close(gradient(found, at.network), expected, rtol=0, atol=1e-9)


def test_cpo_is_dpo_from_a_uniform_start_and_likelihood() -> None:
    at = Prepared.of("lstm-tagger")
    uniform = Factorised(torch.zeros(1, 2, 2, dtype=torch.float64), torch.tensor([2]))

    class Uniform(nn.Module):
        def forward(self, inputs: Sequences) -> Factorised:
            return uniform

    every = NBest(k=4, reference="left out")
    dpo = DPO(run="given", beta=BETA, candidates=every)
    values = dpo(at.network(INPUTS), at.target, state=Teacher(Uniform(), "symbols", "x"), inputs=INPUTS).values
    cpo = CPO(beta=BETA, ml_weight=0.0, candidates=Samples(k=64, reference="added"))
    found = cpo(at.network(INPUTS), at.target, generator=torch.Generator().manual_seed(0))
    assert found.diagnostics["distinct"] * 65 == 4, "all four outputs were drawn"
    best, worst = (at.log_probs()[2].index(extreme(at.log_probs()[2])) for extreme in (max, min))
    log_p = at.log_probs()[0]
    assert found.values.item() == pytest.approx(softplus(-BETA * (log_p[best] - log_p[worst])).item(), abs=1e-9)
    assert values.item() == pytest.approx(found.values.item(), abs=1e-9)


def test_pairs_are_the_best_and_the_worst_in_the_mask_and_ties_are_told() -> None:
    outputs = as_candidates([[0], [0, 1], [1, 1, 1], []], batch=2)
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    pairs = ranked_pairs(Candidates(outputs, mask), EditDistance(), Sequences.of([[0, 1], [0, 1]]))
    assert Sequences(pairs.outputs.labels, pairs.outputs.lengths).flatten().tolist()[:2] == [[0, 1], []]
    assert pairs.differ.tolist() == [True, False]


@pytest.mark.parametrize("objective", [DPO(run="given", reward=ConstantReward()), CPO(reward=ConstantReward())])
def test_a_reward_that_says_nothing_makes_no_pairs(objective: Objective) -> None:
    at = Prepared.of("seq2seq")
    if isinstance(objective, CPO):
        objective = replace(objective, ml_weight=0.0)
    teacher = Teacher(at.start, "symbols", "given")
    source = torch.Generator().manual_seed(0)
    values = objective(at.network(INPUTS), at.target, state=teacher, inputs=INPUTS, generator=source).values
    assert values.item() == 0
    assert gradient(values.sum(), at.network).abs().max() == 0


TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)


def test_dpo_trains_from_a_run_and_what_cannot_work_is_refused_in_words(tmp_path: Path) -> None:
    start = train(TINY, root=tmp_path)
    experiment = replace(TINY, objective=DPO(run=str(start.folder.path)))
    data = EncodedData.of(experiment.task.load(), experiment.model)
    under_way = Training(experiment, data, device="cpu", observer=ignore)
    under_way.rehearse(2)
    assert under_way.totals.diagnostics()["preferred"] >= 0
    with pytest.raises(ConfigError, match=r"DPO needs its teacher and the inputs of p: pass state="):
        DPO(run="x")(start.model(start.codec.read([("a",)]).gather(torch.tensor([0]))), Sequences.of([[0]]))
