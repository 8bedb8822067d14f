"""Gradients by draws against enumeration, and what is computed from them.

Seeds are fixed. A bound of five standard errors, which come from 12 or more draws, fails by chance less than once in a
thousand seeds, and a squared distance of 25 times its expectation less than once in ten thousand.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from structpred.diagnosis import (
    Batch,
    Mean,
    Point,
    choices,
    divergences,
    expected_reward_gradient,
    gradients,
    quality,
    rml_on_scores,
)
from structpred.diagnosis import expected_reward as module
from structpred.diagnosis.draws import Wrt
from structpred.diagnosis.runner import outputs_of
from structpred.distributions import Autoregressive, Factorised, LinearChain
from structpred.errors import ConfigError
from structpred.models import CRF, Model, Seq2Seq
from structpred.models.embedded import embedded
from structpred.objectives import REINFORCE, RML, Adversarial, MaximumLikelihood, Sampled, Weighted, WeightedSum
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.rewards import EditDistance, Hamming
from structpred.sequences import Sequences
from structpred.testing import expected_gradient
from structpred.testing.spaces import built, sizes_of, strings, targets_for, tiny_models

DRAWS = 12
MODELS = tiny_models()
INPUTS = Sequences.of([(0, 1), (2,)])


def place(name: str, labels: int = 2) -> tuple[Point, Batch]:
    model: Model = MODELS[name]
    batch = Batch(INPUTS, targets_for(model, INPUTS, labels), sizes_of(labels))
    return Point("here", built(model, labels).eval()), batch


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([each.flatten() for each in parts])


def test_the_mean_of_draws_is_the_expected_gradient() -> None:
    """Of one example, over all pairs of outputs, with respect to the weights."""
    model = MODELS["lstm-tagger"]
    inputs = Sequences.of([(0, 1)])
    batch = Batch(inputs, targets_for(model, inputs), sizes_of(2))
    point = Point("here", built(model).eval())
    objective = REINFORCE(reward=EditDistance(), samples=2)
    expected = flat(expected_gradient(objective, point.network, inputs, batch.targets, samples=2)) / batch.tokens
    rows = gradients(objective, point, batch, draws=12, seed=3).rows
    truth = Mean(expected.unsqueeze(0), exact=True)
    found = quality(rows, truth)
    apart = rows.mean(0) - expected
    noise = rows.var(0).sum() / len(rows)
    assert apart.square().sum() < 25 * noise
    exact = quality(rows, truth, expected)
    assert abs(exact.snr.value - found.snr.value) < 5 * (exact.snr.error + found.snr.error)
    assert exact.cosine.value == pytest.approx(1)
    assert exact.bias.value == pytest.approx(0, abs=1e-6)


def test_draws_with_respect_to_scores_agree_with_the_closed_form() -> None:
    point, batch = place("crf")
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.2))
    objective = RML(payoff=payoff, estimator=Sampled(k=1))
    rows = gradients(objective, point, batch, draws=40, wrt="scores").rows
    exact = rml_on_scores(point.network(batch.inputs), payoff.distribution(batch.targets, 2))
    twin = objective.in_expectation()
    assert twin is not None
    mean = gradients(twin, point, batch, draws=2, wrt="scores").rows
    assert len(mean) == 1
    truth = expected_reward_gradient(Hamming(), point, batch, draws=2, wrt="scores")
    found = quality(rows, truth.mean, mean[0])
    assert (mean[0] * batch.tokens).square().sum().item() == pytest.approx(exact.strength)
    assert abs(found.snr.value - exact.snr) < 5 * found.snr.error


@pytest.mark.parametrize("wrt", ["scores", "weights"])
def test_reinforce_in_expectation_is_the_exact_expected_reward(wrt: Wrt) -> None:
    point, batch = place("lstm-tagger")
    twin = REINFORCE(reward=Hamming()).in_expectation()
    assert twin is not None
    truth = expected_reward_gradient(Hamming(), point, batch, draws=2, wrt=wrt)
    assert truth.how == "exact"
    found = quality(gradients(twin, point, batch, draws=2, wrt=wrt).rows, truth.mean)
    assert (found.bias.value, found.snr.value) == (0, math.inf)
    assert REINFORCE(reward=EditDistance()).in_expectation() is None
    assert RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.1))).in_expectation() is None


def test_an_objective_that_shifts_vectors_is_given_them() -> None:
    model = MODELS["crf"]
    point, batch = place("crf")
    objective = Adversarial(objective=MaximumLikelihood())
    found = gradients(objective, replace(point, embedder=model.embedder), batch, draws=4)
    p, vectors = embedded(point.network, point.network.get_submodule(model.embedder), INPUTS)
    loss = objective(p, batch.targets, embedded=vectors).values.sum() / batch.tokens
    expected = flat(torch.autograd.grad(loss, list(point.network.parameters())))
    assert not found.random
    torch.testing.assert_close(found.rows[0], expected, rtol=0, atol=1e-12)


def test_outputs_of_the_parts_of_an_objective_are_counted() -> None:
    drawing = WeightedSum(parts=(Weighted(objective=REINFORCE(samples=3)), Weighted(objective=MaximumLikelihood())))
    assert outputs_of(drawing) == 3
    assert outputs_of(Adversarial(objective=REINFORCE(samples=3))) == 6, "drawn anew for the shifted inputs"
    shifted, plain = (
        Weighted(objective=Adversarial(objective=MaximumLikelihood())),
        Weighted(objective=REINFORCE(samples=3)),
    )
    assert outputs_of(WeightedSum(parts=(shifted, plain))) == 3, "what is shifted draws nothing"
    shifted = Weighted(objective=Adversarial(objective=REINFORCE(samples=2)))
    assert outputs_of(WeightedSum(parts=(shifted, plain))) == 4
    assert outputs_of(Adversarial(objective=MaximumLikelihood())) == 0


def test_draws_and_enumeration_give_the_same_expected_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    point, batch = place("lstm-tagger")
    listed = expected_reward_gradient(EditDistance(), point, batch, draws=DRAWS)
    monkeypatch.setattr(module, "MOST_OUTPUTS", 1)
    drawn = expected_reward_gradient(EditDistance(), point, batch, draws=DRAWS)
    assert (listed.how, drawn.how) == ("enumerated", "estimated")
    noise = drawn.mean.rows.var(0).sum() / DRAWS
    assert (drawn.mean.rows.mean(0) - listed.mean.rows[0]).square().sum() < 25 * noise
    found = quality(listed.mean.rows, drawn.mean)
    assert abs(found.cosine.value - 1) < 5 * found.cosine.error


def test_enumeration_knows_what_each_example_can_give() -> None:
    for name in ("crf", "transformer"):
        point, batch = place(name)
        p = point.network(batch.inputs)
        space = module.every_output(p, batch.targets)
        assert space is not None
        outputs, possible = space
        total = torch.where(possible, p.log_prob(outputs), -torch.inf).exp().sum(1)
        torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64))


def test_quality_of_gradients_whose_mean_and_variance_are_chosen() -> None:
    """g ~ N(m, σ² I) in 50 dimensions: ‖m‖²/(50 σ²), cosine and bias to another vector, each within five errors."""
    source = torch.Generator().manual_seed(0)
    mean, truth = torch.zeros(2, 50, dtype=torch.float64)
    mean[0], truth[0], truth[1] = 2.0, 3.0, 4.0
    rows = mean + 0.5 * torch.randn(60, 50, generator=source, dtype=torch.float64)
    noisy = truth + 0.5 * torch.randn(60, 50, generator=source, dtype=torch.float64)
    expected = {"snr": 4 / 12.5, "cosine": 0.6, "bias": math.sqrt(4 - 12 + 25) / 5}
    for given in (Mean(truth.unsqueeze(0), exact=True), Mean(noisy, exact=False)):
        found = quality(rows, given)
        for name, value in expected.items():
            measured = getattr(found, name)
            assert 0 < measured.error < 0.1
            assert abs(measured.value - value) < 5 * measured.error, name


def test_a_gradient_that_is_lost_in_noise_has_no_cosine() -> None:
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    found = quality(rows, Mean(torch.ones(1, 2, dtype=torch.float64), exact=True))
    assert math.isnan(found.cosine.value)
    assert found.snr.value < 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["lstm-tagger", "crf"])
def test_divergences_agree_with_enumeration(name: str) -> None:
    point, batch = place(name)
    p = point.network(batch.inputs)
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).distribution(batch.targets, 2)
    found = divergences(p, q, batch.targets)
    outputs, possible = module.every_output(p, batch.targets) or (None, None)
    assert outputs is not None
    assert possible is not None
    log_p, log_q = (torch.where(possible, each.log_prob(outputs).double(), -torch.inf) for each in (p, q))
    gap = torch.where(possible, log_q - log_p, 0.0)
    forward, backward = (log_q.exp() * gap).sum(1).mean(), -(log_p.exp() * gap).sum(1).mean()
    effective = (1 / torch.where(possible, (2 * log_q - log_p).exp(), 0.0).sum(1)).mean()
    for measured, value in zip(vars(found).values(), (forward, backward, effective), strict=True):
        assert measured.exact
        assert measured.value == pytest.approx(float(value), abs=1e-9)


@torch.no_grad()
def test_divergences_from_draws_agree_with_enumeration() -> None:
    """A decoder of at most four labels, under the edit distance: q is listed up to length eight."""
    targets = Sequences.of([[0, 1], [1]])
    log_probs = torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64).log()

    class Same(nn.Module):
        def forward(self, prefixes: Tensor, rows: Tensor) -> Tensor:
            del rows
            return log_probs.expand(*prefixes.shape, 3)

    p = Autoregressive.from_logits(Same(), 2, [40, 40])
    q = EditDistancePayoff(temperature=Temperature(edit_rate=0.2)).distribution(targets, 2)
    found = divergences(p, q, targets, generator=torch.Generator().manual_seed(0))
    rows = strings(2, 8)
    outputs = Sequences.of(rows)
    listed = Sequences(outputs.labels.expand(2, -1, -1), outputs.lengths.expand(2, -1))
    log_q = q.score(listed).log_softmax(1)
    log_p = p.log_prob(listed)
    forward = float((log_q.exp() * (log_q - log_p)).sum(1).mean())
    assert abs(found.forward.value - forward) < 5 * found.forward.error
    assert 0 < found.forward.error < 0.1
    assert 0 < found.effective.value < 1


def test_choices_are_those_of_the_grid() -> None:
    chain, decoder = CRF(embedding=3, hidden=4), Seq2Seq(embedding=3, hidden=4)
    able, refused = choices(chain).able, choices(chain).refused
    assert {"maximum-likelihood", "rml (sampled)", "rml (exact)", "reinforce (token)", "max-margin"} <= able.keys()
    assert all(each.payoff.temperature.edit_rate == 0.1 for each in able.values() if isinstance(each, RML))
    assert "needs `continuations`" in refused["mixer"]
    assert "learns from another run" in refused["distillation"]
    assert "needs a reward that is a sum over positions" in choices(decoder).refused["max-margin"]
    assert list(choices(decoder, names=["rml"]).able) == ["rml"]
    with pytest.raises(ConfigError, match="there is no objective named 'rlm'"):
        choices(chain, names=["rlm"])
    with pytest.raises(ConfigError, match="MaxMargin needs a reward that is a sum over positions"):
        choices(decoder, names=["max-margin"])


def test_scores_are_refused_where_there_are_none() -> None:
    point, batch = place("seq2seq")
    with pytest.raises(ConfigError, match="made of a table of scores"):
        gradients(MaximumLikelihood(), point, batch, draws=2, wrt="scores")


def test_too_many_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point, batch = place("crf")
    monkeypatch.setattr("structpred.diagnosis.draws.MOST", 1000)
    with pytest.raises(ConfigError, match="lower the number of draws to"):
        gradients(MaximumLikelihood(), point, batch, draws=1000)


def test_draws_follow_the_seed_and_not_their_number() -> None:
    point, batch = place("lstm-tagger")
    one = gradients(REINFORCE(reward=Hamming()), point, batch, draws=2, seed=5).rows
    again = gradients(REINFORCE(reward=Hamming()), point, batch, draws=3, seed=5).rows
    assert torch.equal(one, again[:2])
    assert not torch.equal(one[0], one[1])


@torch.no_grad()
def test_a_share_far_below_one_over_the_draws_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """By draws of q: 256 draws of p would say 1/256 wherever it is less. Within five errors of the exact share."""
    targets = Sequences.of([[0] * 4, [1, 2, 3]])
    q = HammingPayoff(temperature=Temperature(edit_rate=0.1)).distribution(targets, 10)
    p = Factorised(torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(0)).double(), targets.lengths)
    exact = divergences(p, q, targets).effective.value
    monkeypatch.setattr("structpred.diagnosis.divergence.Factorised", LinearChain)
    found = divergences(p, q, targets, generator=torch.Generator().manual_seed(0)).effective
    assert exact < 1e-4
    assert 0 < found.error < exact / 5
    assert abs(found.value - exact) < 5 * found.error


def test_gradients_that_differ_by_rounding_have_no_noise_and_no_error() -> None:
    row = torch.linspace(-1, 1, 101, dtype=torch.float64)
    found = quality(row.expand(4, -1) * (1 + 1e-16), Mean(row.unsqueeze(0) * 3, exact=True), row * (1 + 1e-15))
    assert found.snr.value == math.inf
    assert found.cosine.exact
    assert found.bias.exact
    assert found.bias.value == pytest.approx(2 / 3)
