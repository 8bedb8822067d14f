"""The sum of a geometric mixture with another distribution, in closed form, against all outputs listed."""

import pytest
import torch
from torch import Tensor

from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import LocalLogProb, LocalScores, Overlap
from structpred.errors import ConfigError
from structpred.payoffs import HammingPayoff, Temperature
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings

V = 3
LENGTHS = torch.tensor([3, 1, 0, 2])


def scores(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    unary = 2 * torch.randn(4, 3, V, generator=generator, dtype=torch.float64)
    unary[1, 1:], unary[2] = torch.nan, torch.nan  # beyond a length there may be anything
    return unary, torch.randn(V, V, generator=generator, dtype=torch.float64)


def made(kind: str, *, forbidden: bool = False) -> Factorised | LinearChain:
    unary, transitions = scores(0)
    if forbidden:
        unary[0, 1, 0] = -torch.inf
    return Factorised(unary, LENGTHS) if kind == "factorised" else LinearChain(unary, transitions, LENGTHS)


def listed(p: Factorised | LinearChain, other: LocalScores, alpha: float) -> Tensor:
    sums = []
    for row, length in enumerate(LENGTHS.tolist()):
        every = as_candidates(strings(V, length, shortest=length), batch=4)
        labels = every.labels[row]
        given = torch.zeros(len(labels), dtype=torch.float64)
        for t in range(length):
            given = given + other.unary[row, t][labels[:, t]]
            if other.transitions is not None and t:
                given = given + other.transitions[labels[:, t - 1], labels[:, t]]
        alone = Factorised(p.scores[row : row + 1], LENGTHS[row : row + 1]) if isinstance(p, Factorised) else None
        chain = (
            None
            if isinstance(p, Factorised)
            else LinearChain(p.unary[row : row + 1], p.transitions, LENGTHS[row : row + 1])
        )
        one = Sequences(every.labels[row : row + 1], every.lengths[row : row + 1])
        log_p = (alone or chain).log_prob(one)[0]  # type: ignore[union-attr]  # one of the two
        sums.append((alpha * log_p + (1 - alpha) * given).logsumexp(0))
    return torch.stack(sums)


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("alpha", [1e-4, 0.3, 0.9])
@pytest.mark.parametrize(("kind", "pairs"), [("factorised", False), ("chain", False), ("chain", True)])
def test_it_is_the_sum_over_all_outputs(kind: str, pairs: bool, alpha: float, forbidden: bool) -> None:
    unary, transitions = scores(1)
    other = LocalScores(unary, LENGTHS, transitions if pairs else None)
    p = made(kind, forbidden=forbidden)
    found = p.log_overlap(other, alpha)
    torch.testing.assert_close(found, listed(p, other, alpha), rtol=0, atol=1e-9)
    assert found[2] == 0


@pytest.mark.parametrize("kind", ["factorised", "chain"])
def test_what_lies_beyond_a_length_gets_no_gradient(kind: str) -> None:
    unary, transitions = scores(0)
    unary.requires_grad_()
    p = Factorised(unary, LENGTHS) if kind == "factorised" else LinearChain(unary, transitions, LENGTHS)
    (slopes,) = torch.autograd.grad(p.log_overlap(LocalScores(scores(1)[0], LENGTHS), 0.4).sum(), unary)
    assert torch.isfinite(slopes).all()
    assert (slopes[1, 1:] == 0).all()
    assert (slopes[2] == 0).all()
    assert (slopes[0].abs().amax(-1) > 1e-3).all()


def test_a_payoff_s_local_scores_are_its_log_probability() -> None:
    targets = Sequences.of([[0, 2, 1], [1], [], [2, 2]])
    for tau in (1e-310, 0.1, 0.7, 50.0):
        q = HammingPayoff(temperature=Temperature(literal=tau)).distribution(targets, V)
        assert isinstance(q, LocalLogProb)
        found = torch.where(targets.mask().unsqueeze(-1), q.local_log_prob().unary.exp(), 0.0)
        torch.testing.assert_close(found, q.marginals(), rtol=1e-12, atol=1e-300)


def test_other_outputs_are_refused() -> None:
    for kind in ("factorised", "chain"):
        p = made(kind)
        assert isinstance(p, Overlap)
        with pytest.raises(ConfigError, match="same lengths, but in example 0 one has 3 positions and the other 2"):
            p.log_overlap(LocalScores(scores(1)[0], LENGTHS - torch.tensor([1, 0, 0, 0])), 0.5)
    with pytest.raises(ConfigError, match=r"needs scores of single positions, but these have transitions"):
        made("factorised").log_overlap(LocalScores(*scores(1)[:1], LENGTHS, scores(1)[1]), 0.5)
