"""Signal and noise of RML and REINFORCE with respect to a model's scores, in closed form where there is one.

The scores are what a distribution is made of: those of every label at every position and, of a chain, the transitions.
The gradient of log p(y) with respect to them is the vector s(y) of the features of y less its mean under p: for each
position the label as a one-hot vector less the marginals, for transitions the counts of pairs less their expectations.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.diagnosis.signal import Signal
from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import LocalScores
from structpred.errors import ConfigError
from structpred.rewards import Hamming, Reward
from structpred.rewards.base import Decomposable, costs_of
from structpred.sequences import Sequences


def rml_on_scores(p: Factorised | LinearChain, q: Any, *, samples: int = 1) -> Signal:
    """Of −(1/k) Σ_i log p(y_i) with y_i drawn from q, exactly; summed over the batch.

    The gradient of one draw is E_p[f] − f(y), with f the features. Its mean is E_p[f] − E_q[f], which vanishes as p
    approaches q; its variance is that of f under q, whatever p is. So the ratio falls to 0 as p approaches q.

    Args:
        p: the model's distribution.
        q: the payoff, whose positions are independent: it must offer ``marginals``, as the Hamming payoff does.
        samples: k.
    """
    target = q.marginals()
    if isinstance(p, Factorised):
        gap = torch.where(p.mask().unsqueeze(-1), p.log_probs.double().exp() - target, 0.0)
        return Signal(float(gap.square().sum()), float(_label_noise(target)) / samples)
    unary, pairs = _expected_features(p)
    of_q = torch.einsum("btv,btw->vw", target[:, :-1], target[:, 1:])
    strength = (unary - target).square().sum() + (pairs - of_q).square().sum()
    noise = _label_noise(target) + sum(_pair_noise(rows[:n]) for rows, n in zip(target, p.lengths, strict=True))
    return Signal(float(strength), float(noise) / samples)


def reinforce_on_scores(
    p: Factorised | LinearChain,
    targets: Sequences,
    *,
    samples: int = 4,
    reward: Reward | None = None,
    outputs: int = 4000,
    generator: torch.Generator | None = None,
) -> Signal:
    """Of REINFORCE with k samples and the mean of the others as baseline; summed over the batch.

    Its mean is the gradient of −E_p[r]. The noise is `leave_one_out_noise` of moments that are exact where p is
    factorised. On a chain the strength is exact and the moments are means over drawn outputs, whose number has nothing
    to do with ``samples``.

    Args:
        p: the model's distribution.
        targets: the references, ``[batch, time]``.
        samples: k, at least 2.
        reward: r, a sum over positions; minus the Hamming distance by default.
        outputs: how many outputs of a chain are drawn for the moments of each example.
        generator: source of these draws.

    Raises:
        ConfigError: the reward is no sum over positions, or there are too few samples.
    """
    if samples < 2:
        raise ConfigError(f"a sample is compared with the others, so samples must be at least 2, but got {samples}")
    chosen = reward or Hamming()
    if not isinstance(chosen, Decomposable):
        raise ConfigError(
            f"reinforce_on_scores needs a reward that is a sum over positions, but got {type(chosen).__name__}; use "
            "Hamming(), or measure draws with structpred.diagnosis.gradients"
        )
    costs = costs_of(chosen, targets, p.num_labels).double()
    if isinstance(p, Factorised):
        return factorised_moments(p, costs).signal(samples)
    rows = [_one(p, i) for i in range(len(targets))]
    found = [_chain_moments(row, costs[i : i + 1], outputs, generator) for i, row in enumerate(rows)]
    each = [moments.signal(samples) for moments in found]
    unary, pairs = _expected_cost_gradient(p, costs)
    strength = float(unary.square().sum() + pairs.square().sum())  # transitions are shared by the examples
    return Signal(strength, sum(one.noise for one in each), math.hypot(*(one.error for one in each)))


@dataclass(frozen=True)
class Moments:
    """What the noise of REINFORCE is made of: moments of a reward r and of the score function s, ``[batch]`` each.

    Attributes:
        strength: ‖Cov(r, s)‖² = ‖E g‖².
        weighted: E[(r − E r)² ‖s‖²].
        reward: Var r.
        score: E‖s‖².
        errors: standard errors of ``weighted`` and of ``reward`` · ``score``; None where they are exact.
    """

    strength: Float[Tensor, " batch"]
    weighted: Float[Tensor, " batch"]
    reward: Float[Tensor, " batch"]
    score: Float[Tensor, " batch"]
    errors: tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]] | None = None

    def signal(self, samples: int) -> Signal:
        """With ``samples`` samples an example, summed over the batch."""
        noise = leave_one_out_noise(self.strength, self.weighted, self.reward, self.score, samples)
        error = 0.0
        if self.errors is not None:  # at most: as if both erred together
            weighted, product = self.errors
            error = float((weighted / samples + product / (samples * (samples - 1))).square().sum().sqrt())
        return Signal(float(self.strength.sum()), float(noise.sum()), error)


def leave_one_out_noise(
    strength: Float[Tensor, " batch"],
    weighted: Float[Tensor, " batch"],
    reward: Float[Tensor, " batch"],
    score: Float[Tensor, " batch"],
    samples: int,
) -> Float[Tensor, " batch"]:
    """tr Var of (1/k) Σ_i (r_i − b_i) s_i, with b_i the mean reward of the other samples.

    This is the unbiased sample covariance of r and s, a U-statistic of order two, so that with k samples
    tr Var = E[(r − E r)²‖s‖²]/k + Var r · E‖s‖² / (k(k − 1)) − (k − 2)/(k(k − 1)) ‖Cov(r, s)‖².

    Args:
        strength: ‖Cov(r, s)‖².
        weighted: E[(r − E r)²‖s‖²].
        reward: Var r.
        score: E‖s‖².
        samples: k, at least 2.
    """
    pairs = samples * (samples - 1)
    return weighted / samples + reward * score / pairs - (samples - 2) / pairs * strength


def factorised_moments(p: Factorised, costs: Float[Tensor, "batch time labels"]) -> Moments:
    """Exactly, with r = −Σ_t costs_t(y_t): positions are independent."""
    inside = p.mask().unsqueeze(-1)
    probabilities = torch.where(inside, p.log_probs.double().exp(), 0.0)
    costs = torch.where(inside, costs, 0.0)
    centred = costs - (probabilities * costs).sum(-1, keepdim=True)
    square = 1 - 2 * probabilities + probabilities.square().sum(-1, keepdim=True)  # ‖s_t(v)‖²
    variance = (probabilities * centred.square()).sum(-1)
    score = (probabilities * square).sum(-1)
    own = (probabilities * centred.square() * square).sum(-1)
    others = variance.sum(1, keepdim=True) - variance
    strength = (probabilities * centred).square().sum((1, 2))
    return Moments(strength, (own + others * score).sum(1), variance.sum(1), score.sum(1))


def _chain_moments(
    p: LinearChain, costs: Float[Tensor, "1 time labels"], outputs: int, generator: torch.Generator | None
) -> Moments:
    """Of one example, from drawn outputs and exact means."""
    length = int(p.lengths[0])
    unary, pairs = _expected_features(p)
    by_unary, by_pairs = _expected_cost_gradient(p, costs)
    labels = p.sample(outputs, generator).labels[0, :, :length]
    table = costs[0, :length]
    mean = float(p.expected_score(LocalScores(costs, p.lengths)))
    reward = (mean - table.gather(1, labels.T).sum(0)).square()
    score = _label_squares(unary[0, :length], labels) + _pair_squares(pairs, labels)
    weighted = reward * score
    root = math.sqrt(outputs)
    product = torch.stack([reward * score.mean(), score * reward.mean()]).std(1).sum() / root
    errors = ((weighted.std() / root).reshape(1), product.reshape(1))
    strength = by_unary.square().sum() + by_pairs.square().sum()
    return Moments(
        strength=strength.reshape(1),
        weighted=weighted.mean().reshape(1),
        reward=reward.mean().reshape(1),
        score=score.mean().reshape(1),
        errors=errors,
    )


def _label_squares(
    marginals: Float[Tensor, "time labels"], labels: Int[Tensor, "draws time"]
) -> Float[Tensor, " draws"]:
    """Σ_t ‖one-hot(y_t) − m_t‖²."""
    chosen = marginals.gather(1, labels.T).sum(0)
    return labels.shape[1] - 2 * chosen + marginals.square().sum()


def _pair_squares(
    expected: Float[Tensor, "labels labels"], labels: Int[Tensor, "draws time"]
) -> Float[Tensor, " draws"]:
    """‖N(y) − E N‖² with N the counts of neighbouring pairs of labels."""
    codes = labels[:, :-1] * len(expected) + labels[:, 1:]
    counts = (codes.unsqueeze(1) == codes.unsqueeze(2)).sum((1, 2))  # ‖N(y)‖²
    return counts - 2 * expected.flatten()[codes].sum(1) + expected.square().sum()


def _label_noise(target: Float[Tensor, "batch time labels"]) -> Tensor:
    """Σ_t (1 − Σ_v q_t(v)²): rows of padding hold zeros and count for nothing."""
    present = target.sum(-1) > 0
    return torch.where(present, 1 - target.square().sum(-1), 0.0).sum()


def _pair_noise(q: Float[Tensor, "time labels"]) -> Tensor:
    """tr Var of the counts of neighbouring pairs where positions are independent.

    E‖N‖² sums P[(y_t, y_t+1) = (y_u, y_u+1)] over t and u: a product where the pairs share no position, Σ_v
    q_t(v) q_t+1(v) q_t+2(v) where they overlap, and 1 for t = u.
    """
    if len(q) < 2:
        return q.new_zeros(())
    same = q @ q.T
    equal = same[:-1, :-1] * same[1:, 1:]
    apart = torch.arange(len(equal)).unsqueeze(0) - torch.arange(len(equal)).unsqueeze(1)
    total = equal[apart.abs() > 1].sum() + len(equal)
    if len(q) > 2:
        total = total + 2 * (q[:-2] * q[1:-1] * q[2:]).sum()
    expected = torch.einsum("tv,tw->vw", q[:-1], q[1:])
    return total - expected.square().sum()


def _leaves(p: LinearChain) -> LinearChain:
    unary, transitions = (each.detach().double().requires_grad_() for each in (p.unary, p.transitions))
    return replace(p, unary=unary, transitions=transitions)


def _expected_features(p: LinearChain) -> tuple[Tensor, Tensor]:
    """Marginals ``[batch, time, labels]``, and expected counts of pairs in the whole batch: the gradient of log Z."""
    chain = _leaves(p)
    unary, pairs = torch.autograd.grad(chain.log_partition().sum(), (chain.unary, chain.transitions))
    return unary, pairs


def _expected_cost_gradient(p: LinearChain, costs: Tensor) -> tuple[Tensor, Tensor]:
    chain = _leaves(p)
    expected = chain.expected_score(LocalScores(costs, p.lengths)).sum()
    unary, pairs = torch.autograd.grad(expected, (chain.unary, chain.transitions))
    return unary, pairs


def _one(p: LinearChain, i: int) -> LinearChain:
    return LinearChain(p.unary[i : i + 1].double(), p.transitions.double(), p.lengths[i : i + 1])
