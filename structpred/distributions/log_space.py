"""The messages of a linear chain in log space, in float64 and with ordinary autograd operations.

Used for transitions whose range is too wide for `structpred.distributions.scaled_messages`, including forbidden ones
(−inf), for computations that need every pair of neighbours anyway, and as an oracle in tests. It is slower and stores
``labels²`` numbers per position.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.distributions.layout import Packing, inside

IMPOSSIBLE = -1e30
"""Replaces −inf inside the recursions: no sum of scores comes near it, its exp() is 0, and it gives a gradient of 0
where −inf − (−inf) would give NaN."""


@dataclass(frozen=True)
class LogMessages:
    """Forward and backward messages, and log Z.

    Attributes:
        alpha: ln of the total weight of all prefixes that end in a label, ``[batch, time, labels]``.
        beta: ln of the total weight of all continuations after a label, excluding the label itself.
        unary: u in float64, 0 beyond each length.
        transitions: T in float64.
        inside: True at positions that count.
        log_z: log Z.
        packing: the layout of the batch.
    """

    alpha: Float[Tensor, "batch time labels"]
    beta: Float[Tensor, "batch time labels"]
    unary: Float[Tensor, "batch time labels"]
    transitions: Float[Tensor, "labels labels"]
    inside: Bool[Tensor, "batch time"]
    log_z: Float[Tensor, " batch"]
    packing: Packing

    def log_partition(self) -> Float[Tensor, " batch"]:
        """log Z."""
        return self.log_z

    def log_alpha(self) -> Float[Tensor, "rows labels"]:
        """``alpha``, packed."""
        return self.packing.pack(self.alpha)

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p_t(v), 0 beyond each length."""
        log_probs = self.alpha + self.beta - self.log_z[:, None, None]
        return torch.where(self.inside.unsqueeze(-1), log_probs, -torch.inf).exp()

    def pair_marginals(self) -> Float[Tensor, "batch later labels labels"]:
        """P_t(i, j) of labels t and t + 1, 0 beyond each length."""
        arriving = (self.unary + self.beta)[:, 1:, None] - self.log_z[:, None, None, None]
        log_probs = self.alpha[:, :-1, :, None] + self.transitions + arriving
        return torch.where(self.inside[:, 1:, None, None], log_probs, -torch.inf).exp()

    def expected_score(
        self, scores: Float[Tensor, "batch time labels"], pair_scores: Float[Tensor, "labels labels"]
    ) -> Float[Tensor, " batch"]:
        """E[Σ_t v_t(y_t) + Σ_t S(y_t, y_t+1)] of finite scores."""
        counted = torch.where(self.inside.unsqueeze(-1), scores.double(), 0.0)
        values = (self.marginals() * counted).sum((1, 2))
        return values + (self.pair_marginals() * pair_scores.double()).sum((1, 2, 3))

    def can_give(
        self, labels: Bool[Tensor, "batch time labels"], pairs: Bool[Tensor, "labels labels"]
    ) -> Bool[Tensor, " batch"]:
        """Whether some possible output, however improbable, has one of these labels or pairs of neighbours.

        Args:
            labels: by position.
            pairs: from row to column, at any position.
        """
        ends = self.unary + self.beta
        found = (self.alpha + self.beta > IMPOSSIBLE / 2) & self.inside.unsqueeze(-1) & labels
        passed = self.alpha[:, :-1, :, None] + self.transitions + ends[:, 1:, None]
        found_pairs = (passed > IMPOSSIBLE / 2) & self.inside[:, 1:, None, None] & pairs
        return found.any(2).any(1) | found_pairs.flatten(1).any(1)


def log_messages(
    unary: Float[Tensor, "batch time labels"],
    transitions: Float[Tensor, "labels labels"],
    lengths: Int[Tensor, " batch"],
    packing: Packing,
) -> LogMessages:
    """Both recursions, differentiable any number of times."""
    counted = inside(lengths, unary.shape[1])
    scores = _possible(torch.where(counted.unsqueeze(-1), unary.double(), 0.0))
    pairs = _possible(transitions.double())
    beta = _beta(scores, pairs, counted)
    total = (scores + beta)[:, :1].logsumexp(2).sum(1)  # at the first position, if any
    log_z = torch.where((lengths > 0) & (total > IMPOSSIBLE / 2), total, torch.where(lengths > 0, -torch.inf, 0.0))
    return LogMessages(_alpha(scores, pairs), beta, scores, pairs, counted, log_z, packing)


def _possible(scores: Tensor) -> Tensor:
    return torch.where(torch.isneginf(scores), IMPOSSIBLE, scores)


def _alpha(scores: Tensor, pairs: Tensor) -> Tensor:
    """a_t(j) = u_t(j) + ln Σ_i exp(a_t−1(i) + T_ij); beyond a length it continues and is never read."""
    steps = list(scores.unbind(1))
    for time in range(1, len(steps)):
        steps[time] = steps[time] + (steps[time - 1].unsqueeze(2) + pairs).logsumexp(1)
    return torch.stack(steps, 1) if steps else scores


def _beta(scores: Tensor, pairs: Tensor, counted: Tensor) -> Tensor:
    """b_t(i) = ln Σ_j exp(T_ij + u_t+1(j) + b_t+1(j)); 0 at the last position and beyond."""
    steps = [torch.zeros_like(each) for each in scores.unbind(1)]
    for time in range(len(steps) - 1, 0, -1):
        ahead = (pairs + (scores[:, time] + steps[time]).unsqueeze(1)).logsumexp(2)
        steps[time - 1] = torch.where(counted[:, time, None], ahead, 0.0)
    return torch.stack(steps, 1) if steps else scores
