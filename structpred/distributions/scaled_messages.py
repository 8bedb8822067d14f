"""The messages of a linear chain as scaled matrix products, with first and second derivatives in closed form.

With W_t(j) = exp(u_t(j) − max u_t) and E_ij = exp(T_ij − c), c midway between the extremes of T, and every forward
message scaled to sum to one (Rabiner 1989, section V.A):

    α_t(j) = W_t(j) Σ_i α_t−1(i) E_ij / s_t      log Z = Σ_t (ln s_t + max u_t) + (n − 1) c
    G_t(j) = W_t(j) β_t(j) / s_t                 β_t−1(i) = Σ_j E_ij G_t(j),  β_n = 1
    p_t(j) = α_t(j) β_t(j)                       P_t(i, j) = α_t−1(i) E_ij G_t(j)

These are functions of plain tensors without gradient; `structpred.distributions.forward_backward` makes autograd
functions of them. Everything is packed (`Packing`): ``rows`` are positions, ``later`` those from the second on.

Underflow. With R = max T − min T, α_t(i) / α_t(j) ≤ e^R W_t(i) / W_t(j), and the weight of one label's future is at
most e^R times that of another's. The label with W = 1 has Σ_i α(i) E_ij ≥ e^(−R/2). So any value that is flushed to
zero because it, or its factor W, falls below the smallest normal number `tiny` has a marginal probability of at most
e^(2R) · tiny. `widest` requires this to be below eps², far below rounding: R ≤ 27 in float32 and R ≤ 318 in float64.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.distributions.layout import Packing


def widest(dtype: torch.dtype) -> float:
    """The largest max T − min T for which underflow has no visible effect; see above."""
    limits = torch.finfo(dtype)
    return (2 * math.log(limits.eps) - math.log(limits.tiny)) / 2


@dataclass(frozen=True)
class Forward:
    """The forward pass.

    Attributes:
        weights: W.
        potentials: E.
        alpha: α, each row sums to one.
        scales: s.
        log_partition: log Z, in float64.
    """

    weights: Float[Tensor, "rows labels"]
    potentials: Float[Tensor, "labels labels"]
    alpha: Float[Tensor, "rows labels"]
    scales: Float[Tensor, "rows 1"]
    log_partition: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Backward:
    """The backward pass.

    Attributes:
        beta: β.
        incoming: G.
        rates: W / s.
    """

    beta: Float[Tensor, "rows labels"]
    incoming: Float[Tensor, "rows labels"]
    rates: Float[Tensor, "rows labels"]


def forward(
    unary: Float[Tensor, "batch time labels"], transitions: Float[Tensor, "labels labels"], packing: Packing
) -> Forward:
    """α, its scales and log Z."""
    scores = packing.pack(unary)
    peaks = scores.amax(1, keepdim=True)
    weights = scores.sub_(peaks).exp_()
    exact = transitions.double()  # there are few of these, and an error in one repeats at every step and adds up
    lowest, highest = exact.aminmax()
    centre = (highest + lowest) / 2
    potentials = (exact - centre).exp().to(transitions.dtype)
    alpha, scales = torch.empty_like(weights), torch.empty_like(peaks)
    ones = weights.new_ones(weights.shape[1], 1)
    before: Tensor | None = None
    for now, weight, scale in zip(*(packing.steps(x) for x in (alpha, weights, scales)), strict=True):
        if before is None:
            now.copy_(weight)
        else:
            torch.mm(before[: len(now)], potentials, out=now).mul_(weight)
        torch.mm(now, ones, out=scale)  # a sum, but faster
        before = now.div_(scale)
    log_partition = packing.total((scales.double().log() + peaks).squeeze(1))
    log_partition += centre * packing.pairs
    return Forward(weights, potentials, alpha, scales, log_partition)


def backward(there: Forward, packing: Packing) -> Backward:
    """β and G."""
    rates = there.weights / there.scales
    beta, incoming = torch.ones_like(rates), torch.empty_like(rates)
    transposed = there.potentials.t().contiguous()
    steps = list(zip(*(packing.steps(x) for x in (beta, incoming, rates)), strict=True))
    for (now, entering, rate), (before, _, _) in zip(steps[:0:-1], steps[-2::-1], strict=True):
        torch.mul(now, rate, out=entering)
        torch.mm(entering, transposed, out=before[: len(now)])
    if steps:
        torch.mul(steps[0][0], steps[0][2], out=steps[0][1])
    return Backward(beta, incoming, rates)


@dataclass(frozen=True)
class Expectations:
    """The gradient of Σ_b w_b log Z_b.

    Attributes:
        unary: w_b p_t(v), 0 beyond each length.
        transitions: Σ_b w_b Σ_t P_t(i, j).
    """

    unary: Float[Tensor, "batch time labels"]
    transitions: Float[Tensor, "labels labels"]


def expectations(there: Forward, back: Backward, weights: Float[Tensor, " batch"], packing: Packing) -> Expectations:
    """Weighted marginals of labels and of neighbours."""
    weight = weights.to(there.alpha.dtype).index_select(0, packing.examples).unsqueeze(1)
    unary = (there.alpha * back.beta).mul_(weight)
    before = there.alpha.index_select(0, packing.previous).mul_(weight[packing.firsts :])
    pairs = before.t() @ back.incoming[packing.firsts :]
    return Expectations(packing.unpack(unary), there.potentials * pairs)


@dataclass(frozen=True)
class Direction:
    """A sum over positions and neighbours, v and S, prepared for this chain: with and without its expectation.

    Attributes:
        unary: v − E[v], row by row, 0 where the label is impossible.
        weighted: E ∘ S.
        pair_means: E[S] of the pair that ends at each later row.
        masses: Σ_j α_t(j) β_t(j) of each row, which is 1 up to rounding that grows with length.
        values: E[Σ_t v_t(y_t) + Σ_t S(y_t, y_t+1)], in float64.
    """

    unary: Float[Tensor, "rows labels"]
    weighted: Float[Tensor, "labels labels"]
    pair_means: Float[Tensor, "later 1"]
    masses: Float[Tensor, "rows 1"]
    values: Float[Tensor, " batch"]


def direction(
    there: Forward,
    back: Backward,
    unary: Float[Tensor, "batch time labels"],
    transitions: Float[Tensor, "labels labels"],
    packing: Packing,
) -> Direction:
    """Take expectations of v (``unary``) and S (``transitions``), which are finite.

    Means are divided by the masses, so that the centred v and S have mean 0 to full precision.
    """
    marginals = there.alpha * back.beta
    masses = marginals.sum(1, keepdim=True)
    scores = packing.pack(unary)
    means = (marginals * scores).sum(1, keepdim=True).div_(masses)
    weighted = there.potentials * transitions
    pairs = (
        (there.alpha.index_select(0, packing.previous) @ weighted)
        .mul_(back.incoming[packing.firsts :])
        .sum(1, keepdim=True)
    ) / masses[packing.firsts :]
    values = packing.total(means.squeeze(1)) + packing.total_later(pairs.squeeze(1))
    return Direction(scores - means, weighted, pairs, masses, values)


def tangent(
    there: Forward, back: Backward, along: Direction, weights: Float[Tensor, " batch"], packing: Packing
) -> Expectations:
    """The derivative of `expectations` along a direction in the scores: a Hessian-vector product of Σ_b w_b log Z_b.

    The Hessian is symmetric, so this is also the gradient of w · ``along.values``. At every position, scores enter with
    their expectation subtracted. This does not change the result, but keeps the sums over the past and the future of a
    label (α̇ / α and β̇ / β, whose means are then 0) as small as possible:

        α̇_t = (α̇_t−1 E + α_t−1 (E ∘ (S − E[S]))) ∘ W_t / s_t + α_t ∘ v̄_t
        Ġ_t = v̄_t ∘ G_t + β̇_t ∘ W_t / s_t        β̇_t−1 = Ġ_t Eᵀ + G_t (E ∘ (S − E[S]))ᵀ
        ṗ_t = α̇_t ∘ β_t + α_t ∘ β̇_t

    Rounding leaves those means slightly different from 0, and errors of the same sign add up over a thousand positions.
    The error is the same for all labels of a row, so it is measured there and subtracted.
    """
    first = packing.firsts
    before, arriving, rates = there.alpha.index_select(0, packing.previous), back.incoming[first:], back.rates[first:]
    past = there.alpha * along.unary
    past[first:] += (before @ along.weighted).sub_(before @ there.potentials * along.pair_means).mul_(rates)
    _accumulate_past(past, there.potentials, back.rates, packing)
    future = torch.zeros_like(past)
    future[packing.previous] = arriving @ along.weighted.t() - along.pair_means * back.beta[packing.previous]
    entering = along.unary * back.incoming
    _accumulate_future(future, entering, there.potentials.t().contiguous(), back.rates, packing)

    off = (past * back.beta).sum(1, keepdim=True).div_(along.masses)
    past.addcmul_(there.alpha, off, value=-1)
    off = (there.alpha * future).sum(1, keepdim=True).div_(along.masses)
    future.addcmul_(back.beta, off, value=-1)
    entering.addcmul_(back.incoming, off, value=-1)

    weight = weights.to(past.dtype).index_select(0, packing.examples).unsqueeze(1)
    unary = (past * back.beta).addcmul_(there.alpha, future).mul_(weight)
    weight = weight[first:]
    # sums over all positions, in which terms far larger than the sum cancel, so in float64. Summing
    # blocks in float32 and adding these up in float64 would take no longer than float32, but gave errors of an eighth.
    arriving, before = (arriving * weight).double(), before.double()
    entered = (entering[first:] * weight).double().addcmul_(along.pair_means, arriving, value=-1)
    moved = torch.addmm(before.t() @ entered, past.index_select(0, packing.previous).double().t(), arriving)
    flow = before.t() @ arriving
    pairs = (there.potentials * moved + along.weighted * flow).to(past.dtype)
    return Expectations(packing.unpack(unary), pairs)


def _accumulate_past(past: Tensor, potentials: Tensor, rates: Tensor, packing: Packing) -> None:
    """Add (α̇_t−1 E) ∘ W_t / s_t to the new terms of each step, in place."""
    blocks = list(zip(packing.steps(past), packing.steps(rates), strict=True))
    for (before, _), (now, rate) in pairwise(blocks):
        now.addcmul_(before[: len(now)] @ potentials, rate)


def _accumulate_future(future: Tensor, entering: Tensor, transposed: Tensor, rates: Tensor, packing: Packing) -> None:
    """Add β̇ ∘ W / s to Ġ, and Ġ Eᵀ to β̇ of the previous step, in place."""
    blocks = list(zip(*(packing.steps(x) for x in (future, entering, rates)), strict=True))
    for (now, moving, rate), (before, _, _) in zip(blocks[:0:-1], blocks[-2::-1], strict=True):
        moving.addcmul_(now, rate)
        before[: len(now)].addmm_(moving, transposed)
