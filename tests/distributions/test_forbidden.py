"""What is forbidden by −inf, under every pairing of distributions, against enumeration."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import LocalScores, cross_entropy, kl
from structpred.payoffs import HammingPayoff, Temperature
from structpred.sequences import Sequences
from tests.distributions.chains import (
    LABELS,
    LENGTHS,
    agree,
    chain,
    every,
    forbidding,
    generator,
    inside,
    random_scores,
)

REFERENCES = Sequences.of([[2, 0, 1], [], [1], [0, 0, 2, 1], [1, 2]])


def factorised(seed: int, *forbidden: int) -> Factorised:
    """Independent labels, some of which never occur."""
    scores = random_scores(seed)[0]
    scores[..., list(forbidden)] = -math.inf
    return Factorised(scores, LENGTHS)


def hamming(literal: float) -> Any:
    return HammingPayoff(temperature=Temperature(literal=literal)).distribution(REFERENCES, LABELS)


def with_ends() -> LinearChain:
    """Label 0 begins no output, label 2 ends none, and 0 cannot follow 1."""
    unary, transitions = random_scores(7)
    start, end = torch.zeros(2, LABELS, dtype=torch.float64)
    start[0] = end[2] = -math.inf
    return LinearChain.with_ends(unary, forbidding(transitions), start, end, LENGTHS)


MADE: dict[str, Callable[[], Any]] = {
    "chain": lambda: chain(seed=3),
    "chain without a pair": lambda: chain("forbidden pair", seed=4),
    "chain without a label": lambda: chain("forbidden label", seed=5),
    "chain without ends": with_ends,
    "factorised": lambda: factorised(1),
    "factorised without a label": lambda: factorised(2, 0),
    "hamming": lambda: hamming(0.5),
    "hamming at its reference": lambda: hamming(1e-5),
}
HAS_CROSS_ENTROPY = [name for name in MADE if "hamming" not in name]


def listed(p: Any, example: int) -> Tensor:
    """log p of every output of an example, from its scores alone or, for a payoff, from `log_prob`."""
    outputs = every(int(LENGTHS[example]))
    wide = Sequences(outputs.labels.expand(5, -1, -1), outputs.lengths.expand(5, -1))
    return torch.as_tensor(p.log_prob(wide)[example])


def expectation(q: Tensor, values: Tensor) -> Tensor:
    """Σ q v with 0 · (−inf) = 0."""
    return torch.where(q > 0, q * values, 0.0).sum()


@pytest.mark.parametrize("second", HAS_CROSS_ENTROPY)
@pytest.mark.parametrize("first", MADE)
def test_divergences_agree_with_enumeration(first: str, second: str) -> None:
    q, p = MADE[first](), MADE[second]()
    infinite = 0
    for example in range(len(LENGTHS)):
        log_q, log_p = listed(q, example), listed(p, example)
        expected = -expectation(log_q.exp(), log_p)
        agree(cross_entropy(q, p)[example], expected)
        agree(q.entropy()[example], -expectation(log_q.exp(), log_q))
        agree(kl(q, p)[example], expected + expectation(log_q.exp(), log_q))
        infinite += int(expected.isinf())
    if first in ("chain", "factorised", "hamming"):
        assert (infinite > 0) == ("without" in second), "everything is possible under q"


def test_the_example_of_the_fault() -> None:
    """With a label it never gives, q gives no forbidden pair and all is finite; otherwise it is infinite."""
    unary, transitions = torch.randn(1, 3, 3, generator=generator()), torch.zeros(3, 3)
    transitions[0, 1] = -math.inf
    lengths = torch.tensor([3])
    p, outputs = LinearChain(unary, transitions, lengths), Sequences(every(3).labels[..., :3], every(3).lengths)
    assert cross_entropy(Factorised(torch.zeros(1, 3, 3), lengths), p).tolist() == [math.inf]
    q = Factorised(torch.tensor([[[0.0, 1.0, -math.inf]] * 2 + [[-math.inf, -math.inf, 0.0]]]), lengths)
    assert cross_entropy(q, p).tolist() == [math.inf], "01 is possible"
    q = Factorised(torch.tensor([[[0.0, -math.inf, 1.0]] * 3]), lengths)
    expected = -expectation(q.log_prob(outputs)[0].exp(), p.log_prob(outputs)[0])
    torch.testing.assert_close(cross_entropy(q, p)[0], expected)


@pytest.mark.parametrize("scale", [1.0, 80.0], ids=["q as usual", "q that underflows"])
def test_what_is_improbable_is_not_impossible(scale: float) -> None:
    """Its probability may be too small for a number, but E_q[−log p] is infinite all the same."""
    scores = torch.tensor([[[0.0, -1.0]] * 2]) * scale * (100 if scale > 1 else 1)
    lengths = torch.tensor([2])
    forbidden = torch.tensor([[0.0, 0.0], [0.0, -math.inf]])
    p = LinearChain(torch.zeros(1, 2, 2), forbidden, lengths)
    no_label = Factorised(torch.tensor([[[0.0, -math.inf]] * 2]), lengths)
    for q in (Factorised(scores, lengths), LinearChain(scores, torch.zeros(2, 2), lengths)):
        assert cross_entropy(q, p).tolist() == cross_entropy(q, no_label).tolist() == [math.inf]


@pytest.mark.parametrize("second", HAS_CROSS_ENTROPY)
@pytest.mark.parametrize("first", [name for name in MADE if "hamming" not in name])
def test_no_gradient_is_nan(first: str, second: str) -> None:
    """Also where the value is infinite: the finite terms have theirs."""
    leaves: list[Tensor] = []

    def leaf(values: Tensor) -> Tensor:
        leaves.append(values.detach().clone().requires_grad_())
        return leaves[-1]

    def tracked(p: Any) -> Any:
        if isinstance(p, Factorised):
            return Factorised(leaf(p.scores), LENGTHS)
        return LinearChain(leaf(p.unary), leaf(p.transitions), LENGTHS)

    q, p = tracked(MADE[first]()), tracked(MADE[second]())
    total = kl(q, p).sum() + q.entropy().sum() + q.marginals().square().sum()
    for one, gradient in zip(leaves, torch.autograd.grad(total, leaves), strict=True):
        assert gradient.isfinite().all()
        assert (gradient[one.isneginf()] == 0).all()
        if one.dim() == 3:
            assert (gradient[~inside()] == 0).all()


def finite_parts() -> tuple[Tensor, Tensor, Tensor]:
    (u, t), v = random_scores(0), random_scores(1)[0]
    return tuple(each.nan_to_num(7.0).requires_grad_() for each in (u, t, v))  # type: ignore[return-value]


def forbidding_chain(u: Tensor, t: Tensor) -> LinearChain:
    """A forbidden pair, and a forbidden label at one position; the finite scores are free."""
    pair, label = torch.zeros(LABELS, LABELS), torch.zeros(u.shape)
    pair[1, 0] = label[3, 2, 1] = -math.inf
    return LinearChain(u + label, t + pair, LENGTHS)


def without_label_1(v: Tensor) -> Factorised:
    return Factorised(v + torch.tensor([0.0, -math.inf, 0.0]), LENGTHS)


@pytest.mark.parametrize(
    "verb",
    [
        lambda p, q: cross_entropy(q, p),
        lambda p, q: kl(q, p),
        lambda p, q: cross_entropy(hamming(1e-5), p),
        lambda p, q: p.entropy(),
        lambda p, q: p.marginals(),
        lambda p, q: p.pair_marginals(),
        lambda p, q: p.expected_score(LocalScores(q.scores.nan_to_num(neginf=0.5), LENGTHS)),
        lambda p, q: p.loss_augmented(torch.ones(5, 4, LABELS)).log_partition(),
        lambda p, q: kl(p, LinearChain(p.unary * 2, p.transitions, LENGTHS)),
    ],
    ids=[
        "cross-entropy",
        "kl",
        "from hamming",
        "entropy",
        "marginals",
        "pairs",
        "reward",
        "loss-augmented",
        "kl of chains",
    ],
)
def test_gradients_agree_with_finite_differences(verb: Callable[[LinearChain, Factorised], Tensor]) -> None:
    def function(u: Tensor, t: Tensor, v: Tensor) -> Tensor:
        values = verb(forbidding_chain(u, t), without_label_1(v))
        return torch.where(values.isfinite(), values, 0.0)

    assert gradcheck(function, finite_parts(), atol=1e-5)


@pytest.mark.parametrize("kind", ["pair", "label"])
def test_second_derivatives_agree_with_finite_differences(kind: str) -> None:
    targets = Sequences.of([[2, 0, 2], [], [1], [0, 0, 2, 1], [1, 2]]).candidates()

    def function(u: Tensor, t: Tensor) -> Tensor:
        free = LinearChain(u, t, LENGTHS)
        p = forbidding_chain(u, t)
        p = LinearChain(free.unary, p.transitions, LENGTHS) if kind == "pair" else LinearChain(p.unary, t, LENGTHS)
        return p.log_prob(targets)

    assert gradgradcheck(function, finite_parts()[:2])


@pytest.mark.parametrize("name", [name for name in MADE if "without" in name])
def test_what_is_forbidden_is_never_given(name: str) -> None:
    p = MADE[name]()
    drawn, ranked = p.sample(200, generator()), p.n_best(5)
    assert p.log_prob(drawn).isfinite().all()
    assert p.log_prob(p.argmax().candidates()).isfinite().all()
    kept = ranked.log_probs.isfinite()
    agree(p.log_prob(ranked.outputs)[kept], ranked.log_probs[kept])
    for example in range(len(LENGTHS)):
        best = listed(p, example).sort(descending=True).values[:5]
        best = best[best.isfinite()]
        agree(ranked.log_probs[example][: len(best)], best)
        assert ranked.log_probs[example][len(best) :].isneginf().all()


def test_masks_in_half_precision() -> None:
    """−inf and the lowest finite number of float16 forbid alike, but for a probability of e^−65504."""
    scores = torch.zeros(1, 2, 3, dtype=torch.float16)
    lengths, lowest = torch.tensor([2]), torch.finfo(torch.float16).min
    for made in (Factorised, lambda u, n: LinearChain(u, torch.zeros(3, 3, dtype=torch.float16), n)):
        entropies = []
        for value in (-math.inf, lowest):
            masked = scores.clone()
            masked[..., 1] = value
            p = made(masked, lengths)
            assert (p.sample(50, generator()).labels != 1).all()
            assert (p.marginals()[..., 1] == 0).all()
            entropies.append(p.entropy())
        torch.testing.assert_close(*entropies)
        torch.testing.assert_close(entropies[0], torch.tensor([2 * math.log(2)]))
