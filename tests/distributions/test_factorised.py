import itertools
import math
from collections import Counter

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import (
    CrossEntropy,
    Decoding,
    LocalScores,
    LogPartition,
    LogProb,
    LossAugmented,
    Marginals,
    NBest,
    Sample,
    Score,
    StepScores,
    TokenLogProbs,
    cross_entropy,
    kl,
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
    return Factorised(p.scores[index : index + 1], p.lengths[index : index + 1])


@pytest.fixture
def p() -> Factorised:
    return Factorised(random_log_probs(0), LENGTHS)


@pytest.fixture
def scores() -> Tensor:
    """Not normalised."""
    return random_log_probs(0) + torch.randn(3, 3, 1, generator=generator(5), dtype=torch.float64) * 10


def test_scores_are_normalised_and_log_probabilities_left_as_they_are(p: Factorised, scores: Tensor) -> None:
    same = Factorised(scores, LENGTHS)
    inside = torch.arange(3) < LENGTHS.unsqueeze(1)
    torch.testing.assert_close(same.log_probs, p.log_probs)
    torch.testing.assert_close(p.log_probs[inside], p.scores[inside])
    assert (p.log_probs[~inside] == 0).all()
    assert same.argmax().tolist() == p.argmax().tolist()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_unnormalised_verbs_agree_with_enumeration(scores: Tensor, index: int) -> None:
    p, length = Factorised(scores, LENGTHS), int(LENGTHS[index])
    one, outputs = row(p, index), outputs_of(length)
    by_hand = torch.tensor(
        [sum(float(scores[index, t, y]) for t, y in enumerate(s[:length])) for s in outputs.labels[0].tolist()],
        dtype=torch.float64,
    )
    torch.testing.assert_close(one.score(outputs)[0], by_hand, atol=1e-9, rtol=0.0)
    torch.testing.assert_close(p.log_partition()[index], by_hand.logsumexp(0), atol=1e-9, rtol=0.0)
    log_probs = one.log_prob(outputs)
    torch.testing.assert_close(log_probs[0], by_hand - by_hand.logsumexp(0), atol=1e-9, rtol=0.0)
    tokens = one.token_log_probs(outputs)
    torch.testing.assert_close(tokens.sum(-1), log_probs, atol=1e-9, rtol=0.0)
    assert (tokens[..., length:] == 0).all()
    ranked, best = one.n_best(10), log_probs[0].sort(descending=True).values[:10]
    torch.testing.assert_close(ranked.log_probs[0, : len(best)], best, atol=1e-9, rtol=0.0)
    assert ranked.log_probs[0, len(best) :].isneginf().all()
    torch.testing.assert_close(one.log_prob(ranked.outputs)[0, : len(best)], best, atol=1e-9, rtol=0.0)
    assert len({tuple(y) for y in ranked.outputs.labels[0, : len(best), :length].tolist()}) == len(best)


def test_it_is_a_chain_without_transitions(scores: Tensor) -> None:
    p = Factorised(scores, LENGTHS)
    chain = LinearChain(scores, torch.zeros(LABELS, LABELS, dtype=torch.float64), LENGTHS)
    for one, other in (
        (p.log_partition(), chain.log_partition()),
        (p.marginals(), chain.marginals()),
        (p.entropy(), chain.entropy()),
        (p.n_best(4).log_probs, chain.n_best(4).log_probs),
        (kl(p, chain), torch.zeros(3, dtype=torch.float64)),
        (kl(chain, p), torch.zeros(3, dtype=torch.float64)),
    ):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0.0)
    assert p.decode(Decoding(rule="hamming")).tolist() == chain.decode(Decoding(rule="hamming")).tolist()


def test_tilting_adds_costs(scores: Tensor) -> None:
    costs = torch.randn(3, 3, LABELS, generator=generator(6), dtype=torch.float64)
    p, outputs = Factorised(scores, LENGTHS), Sequences.of([[1, 0, 2], [2], []]).candidates()
    added = costs[0, 0, 1] + costs[0, 1, 0] + costs[0, 2, 2]
    torch.testing.assert_close(p.loss_augmented(costs).score(outputs)[0, 0], p.score(outputs)[0, 0] + added)
    torch.testing.assert_close(
        p.loss_augmented(costs).log_prob(outputs), Factorised(scores + costs, LENGTHS).log_prob(outputs)
    )


def test_gradients_reach_the_scores_after_a_verb_without_gradient(scores: Tensor) -> None:
    scores = scores.requires_grad_()
    p = Factorised(scores, LENGTHS)
    outputs = p.sample(1, generator())
    assert p.log_prob(outputs).requires_grad
    assert torch.autograd.gradcheck(
        lambda s: Factorised(s, LENGTHS).entropy(), scores.detach().nan_to_num(1.0).requires_grad_()
    )


def test_autocast_changes_nothing() -> None:
    p = Factorised(random_log_probs(0).float(), LENGTHS)
    pairs = LocalScores(p.log_probs, LENGTHS, torch.randn(LABELS, LABELS, generator=generator()))
    plain = p.expected_score(pairs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(p.expected_score(pairs), plain)
    half = Factorised(p.scores.bfloat16(), LENGTHS)
    assert half.entropy().dtype == half.log_partition().dtype == torch.float32


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
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).distribution(references, LABELS)
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
    assert p.score(outputs)[0].item() == p.token_log_probs(outputs)[0].sum().item() == -math.inf


def test_a_cross_entropy_between_lengths_is_refused(p: Factorised) -> None:
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).distribution(
        Sequences.of([[2, 0, 1], [1, 1], []]), LABELS
    )
    with pytest.raises(ConfigError, match="in example 1 one has 2 positions and the other 1"):
        cross_entropy(q, p)


def test_a_cross_entropy_between_vocabularies_is_refused(p: Factorised) -> None:
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).distribution(
        Sequences.of([[2, 0, 1], [1], []]), LABELS + 1
    )
    with pytest.raises(ConfigError, match="one has 4 and the other 3"):
        cross_entropy(q, p)


def test_same_generator_same_draws(p: Factorised) -> None:
    first, again, other = (p.sample(30, generator(seed)).labels for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_verbs_are_the_protocols(p: Factorised) -> None:
    for verb in (
        LogProb,
        Sample,
        Marginals,
        CrossEntropy,
        StepScores,
        Score,
        LogPartition,
        TokenLogProbs,
        NBest,
        LossAugmented,
    ):
        assert isinstance(p, verb)
    assert p.fixed_length
