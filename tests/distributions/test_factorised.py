import itertools
import math
from collections import Counter

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from structpred.distributions import Factorised
from structpred.distributions.protocols import (
    CrossEntropy,
    LogProb,
    Marginals,
    Sample,
    StepScores,
    cross_entropy,
)
from structpred.errors import ConfigError
from structpred.payoffs import HammingPayoff, Temperature
from structpred.sequences import Sequences

LENGTHS = torch.tensor([3, 1, 0])
LABELS = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_log_probs(seed: int, filler: float = math.nan) -> Tensor:
    log_probs = torch.randn(3, 3, LABELS, generator=generator(seed), dtype=torch.float64).log_softmax(-1)
    inside = torch.arange(3) < LENGTHS.unsqueeze(1)
    return torch.where(inside.unsqueeze(-1), log_probs, filler)


def outputs_of(length: int, *, width: int = 3) -> Sequences:
    every = torch.tensor(list(itertools.product(range(LABELS), repeat=length)), dtype=torch.long)
    padded = torch.nn.functional.pad(every, (0, width - length), value=8)
    return Sequences(padded.unsqueeze(0), torch.full((1, len(every)), length))


def row(p: Factorised, index: int) -> Factorised:
    return Factorised(p.log_probs[index : index + 1], p.lengths[index : index + 1])


@pytest.fixture
def p() -> Factorised:
    return Factorised(random_log_probs(0), LENGTHS)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_verbs_agree_with_enumeration(p: Factorised, index: int) -> None:
    one, length = row(p, index), int(LENGTHS[index])
    outputs = outputs_of(length)
    by_hand = torch.tensor(
        [sum(float(p.log_probs[index, t, y]) for t, y in enumerate(s[:length])) for s in outputs.labels[0].tolist()],
        dtype=torch.float64,
    )
    torch.testing.assert_close(one.log_prob(outputs)[0], by_hand, atol=1e-9, rtol=0.0)
    torch.testing.assert_close(by_hand.exp().sum(), torch.tensor(1.0, dtype=torch.float64), atol=1e-9, rtol=0.0)
    torch.testing.assert_close(one.entropy()[0], -(by_hand.exp() * by_hand).sum(), atol=1e-9, rtol=0.0)
    best = outputs.labels[0, by_hand.argmax(), :length]
    assert one.argmax().tolist() == [best.tolist()]
    for t, label in itertools.product(range(length), range(LABELS)):
        there = by_hand.exp()[outputs.labels[0, :, t] == label].sum()
        torch.testing.assert_close(one.marginals()[0, t, label], there, atol=1e-9, rtol=0.0)
    assert one.marginals()[0, length:].sum() == 0


@pytest.mark.parametrize("index", [0, 1, 2])
def test_cross_entropy_agrees_with_enumeration(p: Factorised, index: int) -> None:
    q = Factorised(random_log_probs(1), LENGTHS)
    outputs = outputs_of(int(LENGTHS[index]))
    expected = -(row(q, index).log_prob(outputs).exp() * row(p, index).log_prob(outputs)).sum()
    torch.testing.assert_close(cross_entropy(q, p)[index], expected, atol=1e-9, rtol=0.0)


def test_cross_entropy_from_a_payoff_is_label_smoothing(p: Factorised) -> None:
    references = Sequences.of([[2, 0, 1], [1], []])
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).around(references, LABELS)
    targets = references.labels[0]
    chosen = p.log_probs[0, range(3), targets]
    expected = -(0.8 * chosen + 0.1 * (p.log_probs[0].sum(-1) - chosen)).sum()
    torch.testing.assert_close(cross_entropy(q, p)[0], expected)
    assert cross_entropy(q, p)[2] == 0


def test_steps(p: Factorised) -> None:
    outputs = p.sample(4, generator())
    steps = p.steps(outputs)
    assert steps.log_probs.shape == (3, 4, 3, LABELS)
    assert not steps.log_probs.isnan().any()
    chosen = steps.log_probs.gather(-1, steps.targets.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close((chosen * steps.mask).sum(-1), p.log_prob(outputs))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_draws_follow_the_law(p: Factorised, index: int) -> None:
    draws, outputs = 30_000, outputs_of(int(LENGTHS[index]))
    drawn = p.sample(draws, generator(2)).select(slice(index, index + 1))
    counts = Counter(map(tuple, drawn.flatten().tolist()))
    expected = (row(p, index).log_prob(outputs)[0].exp() * draws).tolist()
    observed = [counts[tuple(s)] for s in outputs.flatten().tolist()]
    assert sum(observed) == draws
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert len(expected) == 1 or chi2.sf(statistic, len(expected) - 1) > 1e-4


def test_a_label_of_probability_zero_is_never_drawn() -> None:
    log_probs = torch.tensor([[[-torch.inf, 0.0, -torch.inf]]]).repeat(1, 200, 1)
    p = Factorised(log_probs, torch.tensor([200]))
    assert (p.sample(50, generator()).labels == 1).all()
    assert p.entropy().item() == 0.0


def test_padding_reaches_no_result_and_no_gradient(p: Factorised) -> None:
    logits = random_log_probs(0, filler=3.0).requires_grad_()
    inside = torch.arange(3) < LENGTHS.unsqueeze(1)
    same = Factorised(torch.where(inside.unsqueeze(-1), logits, torch.nan), LENGTHS)
    q = Factorised(random_log_probs(1, filler=5.0), LENGTHS)
    wide = same.sample(2, generator())
    wide = Sequences(torch.nn.functional.pad(wide.labels, (0, 3), value=8), wide.lengths)
    torch.testing.assert_close(p.log_prob(wide), same.log_prob(wide))
    total = same.entropy() + cross_entropy(q, same) + same.log_prob(wide).sum(1)
    (gradient,) = torch.autograd.grad(total.sum(), logits)
    assert not gradient.isnan().any()
    assert (gradient[~inside] == 0).all()
    assert (gradient[inside] != 0).any()


def test_another_length_is_impossible(p: Factorised) -> None:
    outputs = Sequences.of([[0, 1], [1], [2]]).candidates()
    assert p.log_prob(outputs)[0].item() == -math.inf
    assert math.isfinite(p.log_prob(outputs)[1].item())
    assert p.log_prob(outputs)[2].item() == -math.inf


def test_a_cross_entropy_between_lengths_is_refused(p: Factorised) -> None:
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).around(Sequences.of([[2, 0, 1], [1, 1], []]), LABELS)
    with pytest.raises(ConfigError, match="in example 1 one has 2 positions and the other 1"):
        cross_entropy(q, p)


def test_a_cross_entropy_between_vocabularies_is_refused(p: Factorised) -> None:
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).around(Sequences.of([[2, 0, 1], [1], []]), LABELS + 1)
    with pytest.raises(ConfigError, match="one has 4 and the other 3"):
        cross_entropy(q, p)


def test_same_generator_same_draws(p: Factorised) -> None:
    first, again, other = (p.sample(30, generator(seed)).labels for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_verbs_are_the_protocols(p: Factorised) -> None:
    for verb in (LogProb, Sample, Marginals, CrossEntropy, StepScores):
        assert isinstance(p, verb)
    assert p.fixed_length
