"""Minimum risk: over all outputs it is the expected reward; over some, what its formula says."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from structpred.distributions import Factorised
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, Seq2Seq
from structpred.objectives import Beam, CandidateSet, ExpectedReward, MinimumRisk, NBest, Samples
from structpred.objectives.minimum_risk import renormalised
from structpred.rewards import EditDistance, Hamming, Reward
from structpred.sequences import Sequences
from structpred.testing import check_objective
from structpred.testing.spaces import Dictated, built, every_output, log_probs_of, targets_for, tiny_models
from tests.support.tiny import QUICK, Copying, as_candidates, tiny_p

INPUTS = Sequences.of([[0, 1]])
KEPT = Samples(k=2, duplicates="kept", reference="left out")


@dataclass(frozen=True, kw_only=True)
class Shifted(Reward):
    """The edit distance and a constant."""

    by: float
    times: float = 1.0

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return self.times * EditDistance().score(outputs, references).double() + self.by


def small() -> tuple[Tensor, Factorised, Sequences]:
    torch.manual_seed(0)
    scores = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    return scores, Factorised(scores, torch.tensor([2])), Sequences.of([[0, 1]])


def gradient(objective: MinimumRisk, outputs: list[list[int]]) -> Tensor:
    scores, p, targets = small()
    settings = MinimumRisk(
        reward=objective.reward,
        sharpness=objective.sharpness,
        candidates=Samples(
            k=len(outputs), duplicates=objective.candidates.duplicates, reference=objective.candidates.reference
        ),
    )
    losses = settings(Dictated(p, as_candidates(outputs)), targets).values
    (found,) = torch.autograd.grad(losses.sum(), scores)
    return found


@pytest.mark.parametrize("name", ["lstm-tagger", "crf", "seq2seq"])
def test_over_all_outputs_it_is_the_exact_expected_reward(name: str) -> None:
    model = tiny_models()[name]
    network, targets = built(model), targets_for(model, INPUTS)
    p = network(INPUTS)
    every = every_output(p, 2)
    objective = MinimumRisk(candidates=Samples(k=every.lengths.shape[1]))
    losses = objective(Dictated(p, every), targets)
    exact = -(p.log_prob(every).exp() * EditDistance().score(every, targets)).sum(1)
    torch.testing.assert_close(losses.values, exact, rtol=0, atol=1e-9)
    found, truth = (
        torch.autograd.grad(v.sum(), list(network.parameters()), retain_graph=True) for v in (losses.values, exact)
    )
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["lstm-tagger", "crf"])
def test_an_n_best_list_of_everything_is_the_closed_form(name: str) -> None:
    network = built(tiny_models()[name])
    inputs, targets = Sequences.of([[0, 1, 1], [2]]), Sequences.of([[1, 0, 0], [1]])
    listed = MinimumRisk(reward=Hamming(), candidates=NBest(k=8))(network(inputs), targets).values
    closed = ExpectedReward()(network(inputs), targets).values
    torch.testing.assert_close(listed, closed, rtol=0, atol=1e-9)
    found, truth = (torch.autograd.grad(each.sum(), list(network.parameters())) for each in (listed, closed))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sharpness", [0.005, 1.0, 3.0])
def test_the_gradient_is_that_of_the_formula(sharpness: float) -> None:
    log_probs = torch.tensor([[-1.0, -3.0, -0.5]], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([[-2.0, 0.0, -1.0]], dtype=torch.float64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    q = renormalised(log_probs, mask, sharpness)
    expected = (q * rewards).sum()
    (found,) = torch.autograd.grad(-expected, log_probs)
    torch.testing.assert_close(found, (-sharpness * q * (rewards - expected)).detach(), rtol=0, atol=1e-12)


def test_a_constant_changes_nothing_and_no_sharpness_teaches_nothing() -> None:
    outputs = [[0, 0], [1, 1], [1, 0]]
    plain, shifted = (gradient(MinimumRisk(reward=Shifted(by=by)), outputs) for by in (0.0, 50.0))
    torch.testing.assert_close(plain, shifted, rtol=0, atol=1e-12)
    norms = [gradient(MinimumRisk(sharpness=alpha), outputs).norm().item() for alpha in (1.0, 1e-3, 1e-9)]
    assert norms[0] > 0.01
    assert norms[1] < 0.01 * norms[0]
    assert norms[2] < 1e-8


def test_much_sharpness_looks_at_the_most_probable_only() -> None:
    q = renormalised(torch.tensor([[-1.0, -1.5, -0.5]]), torch.tensor([[True, True, False]]), 1e4)
    assert q.tolist() == [[1.0, 0.0, 0.0]]


def test_duplicates_weigh_once_where_merged_and_as_often_as_drawn_where_kept() -> None:
    outputs = [[0, 0], [0, 0], [1, 0]]
    merged = MinimumRisk(candidates=Samples(reference="left out"))
    kept = MinimumRisk(candidates=KEPT)
    torch.testing.assert_close(gradient(merged, outputs), gradient(merged, [[0, 0], [1, 0]]))
    assert (gradient(kept, outputs) - gradient(kept, [[0, 0], [1, 0]])).abs().max() > 1e-3
    _, p, targets = small()
    log_probs, rewards = log_probs_of(p, as_candidates(outputs)), EditDistance().score(as_candidates(outputs), targets)
    by_hand = -(log_probs.softmax(1) * rewards).sum(1)
    objective = MinimumRisk(candidates=Samples(k=3, duplicates="kept", reference="left out"))
    torch.testing.assert_close(objective(Dictated(p, as_candidates(outputs)), targets).values.detach(), by_hand)


def test_the_reference_pulls_the_risk_down() -> None:
    _, p, targets = small()
    outputs = as_candidates([[1, 0], [1, 1]])
    without, added = (
        MinimumRisk(candidates=Samples(k=2, reference=reference))(Dictated(p, outputs), targets)
        for reference in ("left out", "added")
    )
    every = as_candidates([[0, 1], [1, 0], [1, 1]])
    by_hand = -(log_probs_of(p, every).softmax(1) * EditDistance().score(every, targets)).sum(1)
    torch.testing.assert_close(added.values.detach(), by_hand)
    assert added.values < without.values


# ----------------------------------------------------------------------------------- what went wrong in other code


def test_probabilities_are_not_exponentiated_twice() -> None:
    log_probs, costs = torch.tensor([[-20.0, -25.0, -40.0]]), torch.tensor([[0.0, 0.5, 1.0]])
    q = renormalised(log_probs, torch.ones(1, 3, dtype=torch.bool), 1.0)
    assert (q * costs).sum().item() == pytest.approx(0.0033, abs=1e-4)
    assert (log_probs.exp().softmax(1) * costs).sum().item() == pytest.approx(0.5, abs=1e-4)  # what others compute


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_rewards_that_all_tie_give_no_gradient_and_no_nan(value: float) -> None:
    objective = MinimumRisk(reward=Shifted(by=value, times=0.0))
    found = gradient(objective, [[0, 0], [1, 1], [1, 0]])
    assert found.abs().max() < 1e-15
    _, p, targets = small()
    losses = MinimumRisk(reward=objective.reward, candidates=KEPT)(
        Dictated(p, as_candidates([[0, 0], [1, 1]])), targets
    )
    torch.testing.assert_close(losses.values.detach(), torch.tensor([-value], dtype=torch.float64))
    assert losses.diagnostics["zero_variance"].tolist() == [1.0]


def test_impossible_candidates_have_no_weight() -> None:
    scores = torch.tensor([[[0.0, -torch.inf]]], dtype=torch.float64, requires_grad=True)
    losses = MinimumRisk(candidates=NBest(k=2))(Factorised(scores, torch.tensor([1])), Sequences.of([[1]]))
    assert losses.values.item() == 1.0


# ----------------------------------------------------------------------------------------------- kit, guards, refusals


@pytest.mark.parametrize(
    "candidates", [Samples(k=3), NBest(k=3), Beam(k=3), KEPT], ids=lambda each: type(each).__name__
)
def test_it_passes_the_conformance_kit(candidates: CandidateSet) -> None:
    served = check_objective(MinimumRisk(candidates=candidates), models=QUICK)
    assert served == (("seq2seq",) if isinstance(candidates, Beam) else tuple(QUICK))


def test_the_guards_see_the_set_and_not_what_was_merged() -> None:
    p, targets = tiny_p(2), Sequences.of([[0], []])
    outputs = as_candidates([[1, 0], [1, 0], [0]], batch=2)
    found = MinimumRisk(candidates=Samples(k=3))(Dictated(p, outputs), targets).diagnostics
    assert found["distinct"].tolist() == [0.5, 0.75]
    assert found["reward"].tolist() == [-0.5, -1.0]
    assert found["length_ratio"].tolist() == pytest.approx([1.25, 2.0])
    assert found["zero_variance"].tolist() == [0.0, 0.0]
    assert (found["expected"] <= 0).all()


def test_what_cannot_work_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"MinimumRisk with Beam\(\) needs `beam`.*CRF.*Samples\(\) or NBest\(\)"):
        Experiment(task=Copying(), model=CRF(), objective=MinimumRisk(candidates=Beam()))
    with pytest.raises(ConfigError, match=r"MinimumRisk with the reward Hamming needs outputs as long .* Seq2Seq"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=MinimumRisk(reward=Hamming()))
    with pytest.raises(ConfigError, match=r"MinimumRisk\.sharpness must be above 0, but got 0"):
        MinimumRisk(sharpness=0.0)
