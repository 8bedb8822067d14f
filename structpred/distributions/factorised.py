"""Independent labels at every position: a softmax tagger, or a Hamming payoff written out."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.decoding import Decoding
from structpred.distributions.protocols import ExpectedScore, LocalScores, Steps, refuse_others
from structpred.sequences import Sequences


@dataclass(frozen=True)
class Factorised:
    """p(y|x) = Π_t p_t(y_t), over outputs exactly as long as the input says.

    Cells at and beyond a length mean nothing: they may hold anything, NaN included.

    Attributes:
        log_probs: normalised log-probabilities ln p_t(v), ``[batch, time, labels]``.
        lengths: labels of each output, ``[batch]``.
    """

    fixed_length: ClassVar[bool] = True

    log_probs: Float[Tensor, "batch time labels"]
    lengths: Int[Tensor, " batch"]

    @property
    def labels(self) -> int:
        """V."""
        return self.log_probs.shape[-1]

    def mask(self) -> Bool[Tensor, "batch time"]:
        """True at positions that count."""
        return torch.arange(self.log_probs.shape[1], device=self.lengths.device) < self.lengths.unsqueeze(1)

    def inside(self) -> Float[Tensor, "batch time labels"]:
        """``log_probs`` with zeros beyond each length, so that nothing there can reach a result or a gradient."""
        return torch.where(self.mask().unsqueeze(-1), self.log_probs, 0.0)

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """Σ_t ln p_t(y_t), in nats; −inf for an output of another length."""
        steps = self.steps(outputs)
        chosen = steps.log_probs.gather(-1, steps.targets.unsqueeze(-1)).squeeze(-1)
        total = torch.where(steps.mask, chosen, 0.0).sum(-1)
        return torch.where(outputs.lengths == self.lengths.unsqueeze(1), total, -torch.inf)

    def steps(self, outputs: Sequences) -> Steps:
        """The same distributions for every candidate: a label's probability has no history here."""
        batch, candidates, given = outputs.labels.shape
        time = self.log_probs.shape[1]
        labels = pad(outputs.labels, (0, max(0, time - given)))[..., :time]
        mask = self.mask().unsqueeze(1).expand(-1, candidates, -1)
        log_probs = self.inside().unsqueeze(1).expand(batch, candidates, time, self.labels)
        return Steps(log_probs, torch.where(mask, labels, 0), mask)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` exact draws, by inverting each position's cumulative distribution."""
        cumulative = self.inside().double().exp().cumsum(-1)
        batch, time, labels = cumulative.shape
        uniform = torch.rand(batch, time, k, generator=generator, device=cumulative.device, dtype=torch.float64)
        # `right` passes over labels of probability 0; rounding may push the product up to the total itself
        drawn = torch.searchsorted(cumulative, uniform * cumulative[..., -1:], right=True).clamp(max=labels - 1)
        drawn = torch.where(self.mask().unsqueeze(-1), drawn, 0).transpose(1, 2).contiguous()
        return Sequences(drawn, self.lengths.unsqueeze(1).repeat(1, k))

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p_t(v); 0 beyond each length."""
        return torch.where(self.mask().unsqueeze(-1), self.inside().exp(), 0.0)

    def entropy(self) -> Float[Tensor, " batch"]:
        """H(p) = −Σ_t Σ_v p_t(v) ln p_t(v), in nats."""
        return -expected_under(self.marginals(), LocalScores(self.inside(), self.lengths))

    def argmax(self) -> Sequences:
        """``[batch, time]``: the most probable label at every position."""
        best = self.inside().argmax(-1)
        return Sequences(torch.where(self.mask(), best, 0), self.lengths)

    def decode(self, decoding: Decoding) -> Sequences:
        """``[batch, time]``: the most probable output, found exactly whatever the search asked for."""
        del decoding
        return self.argmax()

    def cross_entropy_from(self, q: ExpectedScore) -> Float[Tensor, " batch"]:
        """H(q, p) = −E_q[Σ_t ln p_t(y_t)], in nats: exact for any q of the same lengths.

        Raises:
            ConfigError: q's lengths or labels are not those of this distribution.
        """
        return -q.expected_score(LocalScores(self.inside(), self.lengths))

    def expected_score(self, scores: LocalScores) -> Float[Tensor, " batch"]:
        """Σ_t ⟨p_t, u_t⟩ + Σ_t p_tᵀ T p_t+1: positions are independent.

        Raises:
            ConfigError: lengths or labels are not those of this distribution.
        """
        refuse_others(scores, self.lengths, self.labels)
        return expected_under(self.marginals(), scores)


def expected_under(marginals: Float[Tensor, "batch time labels"], scores: LocalScores) -> Float[Tensor, " batch"]:
    """Σ_t ⟨q_t, u_t⟩ + Σ_t q_tᵀ T q_t+1 for independent positions, with 0 · (−inf) = 0, also in the gradient.

    Args:
        marginals: q_t(v), 0 beyond each length; may be wider or narrower than the scores by padding.
        scores: u and T.
    """
    time = min(marginals.shape[1], scores.unary.shape[1])
    q, unary = marginals[:, :time], scores.unary[:, :time]
    total = (q * torch.where(q > 0, unary, 0.0)).sum((1, 2))
    if scores.transitions is None:
        return total
    return total + torch.einsum("bti,ij,btj->b", q[:, :-1], scores.transitions.to(q.dtype), q[:, 1:])
