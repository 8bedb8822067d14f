"""How far p is from the payoff q: both divergences, and how many draws of q a draw of p is worth."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.diagnosis.signal import Measured
from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import LocalLogProb, LogProb, kl
from structpred.sequences import Sequences

DRAWS = 256
"""Outputs of an example that are drawn from p and from q where there is no closed form."""


@dataclass(frozen=True)
class Divergences:
    """Means over a batch.

    Attributes:
        forward: KL(q‖p) in nats an output, which RML minimises.
        backward: KL(p‖q) in nats an output; times τ it is the regularised expected reward, up to a constant.
        effective: 1/E_p[(q/p)²], the share of draws of p that count when q is to be learnt from them; 1 where p = q.
    """

    forward: Measured
    backward: Measured
    effective: Measured


@torch.no_grad()
def divergences(p: Any, q: Any, targets: Sequences, *, generator: torch.Generator | None = None) -> Divergences:
    """Exactly for taggers and chains with a payoff of independent positions, elsewhere estimated from draws.

    Where q offers no log-probability, its score must be 0 at the reference and negative elsewhere, as minus a distance
    is. Then log Z_q = −log q(y*) is estimated by the share of its draws that equal y*; an example of which no draw does
    leaves all three undetermined. 1/E_p[(q/p)²] = 1/E_q[q/p] is estimated from draws of q, since draws of p hardly ever
    show what p lacks; outputs too rare to be drawn would make it smaller still. An output that a decoder cuts at its
    limit counts as if it ended there.

    Args:
        p: the model's distribution.
        q: the payoff's.
        targets: the references, ``[batch, time]``.
        generator: source of draws.
    """
    if isinstance(p, Factorised | LinearChain) and isinstance(q, LocalLogProb):
        return _exactly(p, q, targets)
    return _from_draws(p, q, targets, generator)


def _exactly(p: Factorised | LinearChain, q: Any, targets: Sequences) -> Divergences:
    local = q.local_log_prob()
    backward = -p.expected_score(local) - p.entropy()
    unary, transitions = (
        (p.scores, p.scores.new_zeros(p.num_labels, p.num_labels))
        if isinstance(p, Factorised)
        else (p.unary, p.transitions)
    )
    inside = targets.mask().unsqueeze(-1)
    ratio = torch.where(inside, 2 * local.unary - unary.double(), 0.0)
    squares = LinearChain(ratio, -transitions.double(), targets.lengths).log_partition() + p.log_partition().double()
    return Divergences(
        Measured(float(kl(q, p).double().mean())),
        Measured(float(backward.double().mean())),
        Measured(float((-squares).exp().mean())),
    )


def _from_draws(p: Any, q: Any, targets: Sequences, generator: torch.Generator | None) -> Divergences:
    of_q, of_p = q.sample(DRAWS, generator), p.sample(DRAWS, generator)
    score = q.log_prob if isinstance(q, LogProb) else q.score
    of_own = score(of_q).double()
    forward = of_own - p.log_prob(of_q).double()
    backward = p.log_prob(of_p).double() - score(of_p).double()
    log_z = spread = of_own.new_zeros(len(targets))
    if not isinstance(q, LogProb):
        kept = (of_own == 0).double().mean(1)  # q(y*) = 1/Z_q
        log_z, spread = -kept.log(), (1 - kept) / (kept * DRAWS)
    ratios = (forward - forward.amax(1, keepdim=True)).exp()  # q/p, up to a factor
    shares = (log_z - forward.amax(1)).exp() / ratios.mean(1)
    errors = (ratios.var(1) / DRAWS / ratios.mean(1).square() + spread) * shares.square()
    return Divergences(
        _mean(forward.mean(1) - log_z, forward.var(1) / DRAWS + spread),
        _mean(backward.mean(1) + log_z, backward.var(1) / DRAWS + spread),
        _mean(shares, errors),
    )


def _mean(values: Float[Tensor, " batch"], variances: Float[Tensor, " batch"]) -> Measured:
    """The mean over examples of estimates with these variances; NaN where one of them is not finite."""
    if not bool(values.isfinite().all()):
        return Measured(math.nan, math.nan)
    return Measured(float(values.mean()), float(variances.sum().sqrt() / len(values)))
