import math
from collections import Counter

import pytest
import torch
from scipy.stats import chi2

from structpred.distributions import LinearChain
from structpred.distributions.protocols import Ranked
from tests.distributions.chains import (
    KINDS,
    LABELS,
    LENGTHS,
    TIME,
    agree,
    chain,
    generator,
    inside,
    log_probs_by_hand,
    outputs,
    row,
)

FALSE_ALARM = 1e-4
"""Chance that one χ² test fails although the draws are right; the seed is fixed, so that it fails always or never."""

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_argmax_is_the_most_probable_output(kind: str) -> None:
    p = chain(kind)
    best = p.argmax()
    assert torch.equal(best.lengths, LENGTHS)
    assert (best.labels[~inside()] == 0).all()
    for example, found in enumerate(best.tolist()):
        listed, log_probs = outputs(p, example), log_probs_by_hand(p, example)
        assert found == listed.labels[0, log_probs.argmax(), : int(LENGTHS[example])].tolist()


def test_argmax_in_float32_does_not_drift_over_a_long_output() -> None:
    source = generator(1)
    unary, transitions = torch.randn(4, 400, 6, generator=source) * 100, torch.randn(6, 6, generator=source)
    p = LinearChain(unary, transitions, torch.tensor([400, 1, 399, 0]))
    exact = LinearChain(unary.double(), transitions.double(), p.lengths)
    assert p.argmax().tolist() == exact.argmax().tolist()


@pytest.mark.parametrize("k", [1, 3, 100])
@each_kind
def test_n_best_agrees_with_sorted_enumeration(kind: str, k: int) -> None:
    p = chain(kind)
    ranked = p.n_best(k)
    assert ranked.outputs.labels.shape == (len(LENGTHS), k, TIME)
    assert (ranked.outputs.labels[~inside().unsqueeze(1).expand(-1, k, -1)] == 0).all()
    for example in range(len(LENGTHS)):
        one = Ranked(ranked.outputs.select(slice(example, example + 1)), ranked.log_probs[example : example + 1])
        best = log_probs_by_hand(p, example).sort(descending=True).values
        best = best[~best.isneginf()][:k]
        agree(one.log_probs[0, : len(best)], best)
        assert one.log_probs[0, len(best) :].isneginf().all()
        agree(row(p, example).log_prob(one.outputs)[0, : len(best)], best)
        length = int(LENGTHS[example])
        found = [tuple(y) for y in one.outputs.labels[0, : len(best), :length].tolist()]
        assert len(set(found)) == len(best)


@each_kind
def test_draws_follow_the_law(kind: str) -> None:
    p, draws = chain(kind), 20_000
    drawn = p.sample(draws, generator(7))
    assert drawn.labels.shape == (len(LENGTHS), draws, TIME)
    assert torch.equal(drawn.lengths, LENGTHS.unsqueeze(1).expand(-1, draws))
    assert (drawn.labels[~inside().unsqueeze(1).expand(-1, draws, -1)] == 0).all()
    for example in range(len(LENGTHS)):
        length, probs = int(LENGTHS[example]), log_probs_by_hand(p, example).exp()
        counts = Counter(tuple(y) for y in drawn.labels[example, :, :length].tolist())
        observed = [counts[tuple(y)] for y in outputs(p, example).labels[0, :, :length].tolist()]
        assert sum(observed) == draws
        goodness_of_fit(torch.tensor(observed).double(), probs * draws)


def goodness_of_fit(observed: torch.Tensor, expected: torch.Tensor) -> None:
    """χ² with outcomes expected fewer than five times pooled; impossible ones must not occur."""
    assert (observed[expected == 0] == 0).all()
    rare = expected < 5
    pooled = [torch.cat([x[~rare], x[rare].sum().unsqueeze(0)]) for x in (observed, expected)]
    kept = pooled[1] > 0
    statistic = ((pooled[0] - pooled[1]).square() / pooled[1])[kept].sum().item()
    freedom = int(kept.sum()) - 1
    if pooled[1][-1] > 5 or not kept[-1]:
        assert freedom == 0 or chi2.sf(statistic, freedom) > FALSE_ALARM
    else:  # too rare altogether for χ²
        assert pooled[0][-1] <= 5 + 10 * math.sqrt(5)


def test_draws_are_independent_across_examples() -> None:
    p = chain()
    same = LinearChain(p.unary[[3, 3]], p.transitions, LENGTHS[[3, 3]])
    drawn = same.sample(1000, generator()).labels
    assert not torch.equal(drawn[0], drawn[1])


def test_same_generator_same_draws() -> None:
    first, again, other = (chain().sample(30, generator(seed)).labels for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_searched_has_a_gradient() -> None:
    p = chain()
    p = LinearChain(p.unary.requires_grad_(), p.transitions.requires_grad_(), LENGTHS)
    assert not p.n_best(2).log_probs.requires_grad
    assert p.sample(2, generator()).labels.max() < LABELS
